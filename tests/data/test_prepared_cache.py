"""A prepared set is found again by what it was made of, and never when that changed or the files are damaged."""

import json
import os
import time

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from preparing import file_of, ids_of, spec_of

from medtune import Example, hookimpl
from medtune.data.cache import PreparedCache
from medtune.data.cache_folder import MARKER
from medtune.data.prepare import prepare
from medtune.errors import DataError, StorageError
from medtune.plugins.host import create_host


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


def test_the_same_rows_are_found_prepared_and_other_settings_are_not(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    first, second = (prepare(spec_of(path), host, tokenizer) for _ in range(2))
    assert (first.report.from_cache, second.report.from_cache) == (False, True)
    assert ids_of(first) == ids_of(second)
    assert first.rows.fingerprint == second.rows.fingerprint
    assert first.validation == second.validation
    for other in (spec_of(path, max_length=900), spec_of(path, supervise="all"), spec_of(path, limit=7)):
        assert not prepare(other, host, tokenizer).report.from_cache
    assert not prepare(spec_of(path), host, make_tokenizer(TEMPLATES["gemma"])).report.from_cache
    file_of(tmp_path, rows[1:])
    assert not prepare(spec_of(path), host, tokenizer).report.from_cache


def test_equal_rows_of_another_folder_or_beside_other_files_have_an_account_of_their_own(
    host, tokenizer, rows, tmp_path
):
    accounts = []
    for folder, beside in (("first", "other.docx"), ("second", "codebook.pdf"), ("second", "later.pdf")):
        (tmp_path / folder).mkdir(exist_ok=True)
        file_of(tmp_path / folder, rows)
        (tmp_path / folder / beside).write_bytes(b"x")
        accounts += prepare(spec_of(str(tmp_path / folder)), host, tokenizer).report.account
    assert [account["source"] for account in accounts] == [str(tmp_path / n) for n in ("first", "second", "second")]
    assert [sorted(account["files_left_out"]) for account in accounts] == [
        ["other.docx"],
        ["codebook.pdf"],
        ["codebook.pdf", "later.pdf"],
    ]
    assert prepare(spec_of(str(tmp_path / "second")), host, tokenizer).report.from_cache


class Notes:
    """A formatter that knows which note a row comes from."""

    name, version = "notes", "1"

    def format(self, row):
        example = turns_of(row)
        return Example(example, row["source"], None, "", document=f"note-{len(row['input']) % 5}")


def turns_of(row):
    question = {"role": "user", "content": row["instruction"] + row["input"]}
    return [question, {"role": "assistant", "content": row["output"]}]


class NotesPlugin:
    __hash__ = object.__hash__

    @hookimpl
    def provide_formatters(self):
        return [Notes()]


def test_validation_rows_found_prepared_keep_their_document(tokenizer, rows, tmp_path):
    host = create_host([NotesPlugin()], autoload=False)
    spec = spec_of(file_of(tmp_path, rows), formatter="notes", validation_fraction=0.3)
    first, second = (prepare(spec, host, tokenizer) for _ in range(2))
    assert second.report.from_cache
    assert {e.document for e in second.validation} <= {f"note-{i}" for i in range(5)}
    assert second.validation == first.validation


def test_rows_found_prepared_bring_the_places_of_the_malformed_ones_back(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, [*rows, {"instruction": "x", "input": "", "output": None}])
    spec = spec_of(path, max_quarantined=0.05)
    for number in range(3):
        quarantine = tmp_path / f"q{number}.jsonl" if number else None
        prepared = prepare(spec, host, tokenizer, quarantine_path=quarantine)
        assert prepared.report.from_cache == bool(number)
    assert json.loads((tmp_path / "q1.jsonl").read_text())["place"] == f"{path}:121"
    assert (tmp_path / "q1.jsonl").read_text() == (tmp_path / "q2.jsonl").read_text()
    file_of(tmp_path, rows)
    for _ in range(2):
        prepare(spec_of(path), host, tokenizer, quarantine_path=tmp_path / "q1.jsonl")
    assert not (tmp_path / "q1.jsonl").exists()


def test_accepting_a_loss_later_finds_the_same_set_and_not_accepting_it_is_refused_still(
    host, tokenizer, rows, tmp_path
):
    path = file_of(tmp_path, rows)
    assert not prepare(spec_of(path, max_length=150), host, tokenizer).report.from_cache
    assert prepare(spec_of(path, max_length=150), host, tokenizer).report.from_cache
    with pytest.raises(DataError, match="would lose"):
        prepare(spec_of(path, max_length=150, accept_loss=False), host, tokenizer)


def test_a_damaged_entry_is_prepared_anew(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    whole = ids_of(prepare(spec_of(path), host, tokenizer))
    (entry,) = PreparedCache(tmp_path / "cache").entries()
    ids = tmp_path / "cache" / entry.key / "ids.bin"
    ids.write_bytes(ids.read_bytes()[:-2])
    again = prepare(spec_of(path), host, tokenizer)
    assert not again.report.from_cache
    assert ids_of(again) == whole
    assert prepare(spec_of(path), host, tokenizer).report.from_cache


def test_a_preparation_that_fails_leaves_nothing_behind(host, tokenizer, rows, tmp_path):
    path = file_of(tmp_path, rows)
    with pytest.raises(DataError):
        prepare(spec_of(path, max_length=150, overlong="error"), host, tokenizer)
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [MARKER]


def test_what_a_killed_process_left_goes_after_a_day(tmp_path):
    cache = PreparedCache(tmp_path / "cache")
    for name, age in ((".staging-old", 25 * 3600), (".staging-new", 60)):
        folder = tmp_path / "cache" / name
        folder.mkdir(parents=True)
        (folder / "ids.bin").write_bytes(b"x" * 10)
        for path in (folder / "ids.bin", folder):
            os.utime(path, (time.time() - age,) * 2)
    assert cache.prune() == 10
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [".staging-new"]


def test_a_cache_that_cannot_be_written_is_named(host, tokenizer, rows, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match=r"cannot write the cache .*set MEDTUNE_CACHE"):
        prepare(spec_of(file_of(tmp_path, rows)), host, tokenizer)


def test_nothing_is_kept_when_the_cache_is_off(host, tokenizer, rows, tmp_path):
    prepare(spec_of(file_of(tmp_path, rows), cache=False), host, tokenizer)
    assert PreparedCache(tmp_path / "cache").entries() == []


def test_the_cache_is_bounded_private_and_can_be_cleared(host, tokenizer, rows, tmp_path):
    for count in (60, 80, 100):
        prepare(spec_of(file_of(tmp_path, rows[:count])), host, tokenizer)
    cache = PreparedCache(tmp_path / "cache")
    assert len(cache.entries()) == 3
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    newest = cache.entries()[-1]
    bounded = PreparedCache(tmp_path / "cache", limit_bytes=newest.size_bytes)
    assert bounded.prune() > 0
    assert bounded.entries() == [newest]
    assert cache.clear().freed_bytes == newest.size_bytes
    assert cache.entries() == []
