"""A line continues the one before it, or the record is refused."""

import hashlib
import json

import pytest

from medtune.errors import DamagedArtifactError, WriteFailedError
from medtune.runs.record.chain import Change, append, read_chain
from medtune.runs.record.tree import Entry, canonical

ENTRY = Entry(1, "a" * 64)


@pytest.fixture
def record(tmp_path):
    """Return the record of three lines."""
    append(tmp_path, "r", Change("train", {"run.json": ENTRY}, facts={"base": "b"}))
    append(tmp_path, "r", Change("evaluate", {"scores": ENTRY}))
    append(tmp_path, "r", Change("report", {"report": ENTRY}, removed=["scores"]))
    return tmp_path / "record.jsonl"


def test_what_lines_say_adds_up(record):
    chain = read_chain(record.parent)
    assert [line.change.command for line in chain.lines] == ["train", "evaluate", "report"]
    assert (chain.files, chain.facts) == ({"run.json": ENTRY, "report": ENTRY}, {"base": "b"})
    assert chain.root == chain.lines[-1].root


def test_what_the_record_says_already_makes_no_line(record):
    assert append(record.parent, "r", Change("report", {"report": ENTRY}, removed=["scores"])) is None
    assert len(read_chain(record.parent).lines) == 3


def test_a_folder_without_a_record_has_none(tmp_path):
    assert read_chain(tmp_path) is None


@pytest.mark.parametrize("cut", [0, 1])
def test_a_line_that_is_cut_out_is_told_by_the_next(record, cut):
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(b"".join(lines[:cut] + lines[cut + 1 :]))
    with pytest.raises(DamagedArtifactError, match=f"was changed in line {cut + 1}"):
        read_chain(record.parent)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("command", "audit"),
        ("time", "1970-01-01T00:00:00+00:00"),
        ("root", "0" * 64),
        ("number", 5),
        ("run_id", "s"),
        ("changed", {}),
        ("removed", ["run.json"]),
        ("unproven", ["other"]),
        ("facts", {"base": "c"}),
        ("format", 2),
        ("more", 1),
    ],
)
def test_a_line_in_which_anything_was_edited_is_refused(record, part, value):
    for number in (3, 2):  # nothing follows the last one that would name its hash
        edit(record, number, part, value)
        with pytest.raises(DamagedArtifactError, match=f"was changed in line {number}"):
            read_chain(record.parent)


@pytest.mark.parametrize(
    ("part", "value"), [("command", "audit"), ("time", "1970-01-01T00:00:00+00:00"), ("writer", "w")]
)
def test_a_line_whose_hash_was_computed_anew_is_told_by_the_next(record, part, value):
    edit(record, 2, part, value, sealed=True)
    with pytest.raises(DamagedArtifactError, match="was changed in line 3"):
        read_chain(record.parent)


@pytest.mark.parametrize(
    ("part", "value"), [("root", "0" * 64), ("number", 5), ("run_id", "s"), ("more", 1), ("format", 2)]
)
def test_a_last_line_whose_hash_was_computed_anew_must_still_fit(record, part, value):
    edit(record, 3, part, value, sealed=True)
    with pytest.raises(DamagedArtifactError, match="was changed in line 3"):
        read_chain(record.parent)


def edit(record, number, part, value, *, sealed=False):
    """Change a part of one line, and compute its hash anew where that is asked for."""
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    line = lines[number - 1]
    line[part] = value
    if sealed:
        del line["digest"]
        line["digest"] = hashlib.sha256(canonical(line)).hexdigest()
    record.write_bytes(b"".join(canonical(line) + b"\n" for line in lines))


def test_a_line_that_is_spelt_another_way_is_refused(record):
    lines = record.read_text().splitlines()
    record.write_text("\n".join([json.dumps(json.loads(lines[0])), *lines[1:]]) + "\n")
    with pytest.raises(DamagedArtifactError, match="line 1"):
        read_chain(record.parent)


def test_what_a_kill_left_of_a_line_gives_way_to_the_next(record):
    whole = record.read_bytes()
    record.write_bytes(whole + b'{"command":"tra')
    assert read_chain(record.parent).torn == 15
    append(record.parent, "r", Change("train", {"more": ENTRY}))
    assert record.read_bytes().startswith(whole)
    assert (len(read_chain(record.parent).lines), read_chain(record.parent).torn) == (4, 0)


def test_a_record_is_for_its_owner_only(record):
    assert record.stat().st_mode & 0o77 == 0


def test_a_damaged_record_is_not_continued(record):
    record.write_bytes(record.read_bytes().replace(b"evaluate", b"evaluatE"))
    with pytest.raises(DamagedArtifactError, match="line 2"):
        append(record.parent, "r", Change("train", {"more": ENTRY}))


@pytest.mark.parametrize("name", ["../merged/weights", "/merged", "deep/../../merged", ".."])
def test_a_name_that_leads_out_of_the_folder_is_never_recorded(record, name):
    before = record.read_bytes()
    for change in (Change("export", {name: ENTRY}), Change("export", removed=[name])):
        with pytest.raises(WriteFailedError, match="lies outside of the run folder"):
            append(record.parent, "r", change)
    assert record.read_bytes() == before
