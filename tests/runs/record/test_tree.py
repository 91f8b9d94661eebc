"""One hash stands for a folder: any other file, name or fact gives another, and no inner node passes for a leaf."""

import hashlib
import os

from hypothesis import given
from hypothesis import strategies as st

from medtune.runs.record import tree
from medtune.runs.record.tree import Entry, canonical, files_of, measured, root_of, unreadable

ENTRIES = st.builds(Entry, st.integers(0, 9), st.sampled_from(["a" * 64, "b" * 64, "c" * 64]))
TREES = st.dictionaries(st.sampled_from(["a", "a/b", "b", "c.json", "d"]), ENTRIES)
FACTS = st.dictionaries(st.sampled_from(["base", "packages"]), st.integers(0, 3))


@given(TREES, FACTS, TREES, FACTS)
def test_two_folders_have_one_root_only_when_they_hold_the_same(files, facts, others, other_facts):
    same = files == others and facts == other_facts
    assert (root_of(files, facts) == root_of(others, other_facts)) == same


def test_the_root_of_three_files_is_that_of_rfc_6962():
    files = {name: Entry(1, name * 64) for name in "abc"}
    leaves = [hashlib.sha256(b"\x00" + canonical(["file", name, 1, name * 64])).digest() for name in "abc"]
    pair = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    assert root_of(files, {}) == hashlib.sha256(b"\x01" + pair + leaves[2]).hexdigest()


def test_locks_and_marks_of_the_run_folder_are_left_out_and_nothing_else_is(tmp_path):
    (tmp_path / "deep").mkdir()
    volatile = [
        ".lock",
        ".lock-owner.json",
        ".cancel.json",
        "..lock-owner.json.staging",
        ".record.lock",
        "record.jsonl",
    ]
    volatile += [".writing-0a1b.lock", ".writing-0a1b.jsonl"]
    kept = ["run.json", ".locked", ".hidden", "deep/.lock", "deep/record.jsonl", ".writing-xyz.jsonl"]
    for name in (*volatile, *kept):
        (tmp_path / name).write_text(name)
    assert sorted(files_of(tmp_path).regular) == sorted(kept)


def test_links_and_pipes_are_named_and_never_opened(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "run" / "pipe")
    found = files_of(tmp_path / "run")
    assert (dict(found.regular), found.odd) == ({}, {"folder": "a link", "pipe": "no regular file"})


def test_a_file_that_is_gone_by_now_is_left_out(tmp_path):
    (tmp_path / "there").write_bytes(b"four")
    assert measured(tmp_path, ["there", "gone"]) == {"there": Entry(4, hashlib.sha256(b"four").hexdigest())}


def test_names_that_only_look_like_locks_and_marks_hide_nothing(tmp_path):
    (tmp_path / "elsewhere").write_text("text")
    run = tmp_path / "run"
    for folder in (".lock.d", ".lock", ".writing-0.jsonl.x", ".record.lock"):
        (run / folder).mkdir(parents=True)
        (run / folder / "file").write_text("text")
    names = [".cancel.json.x", ".lock-owner.json.bak", "...cancel.json", ".writing-0.jsonl.x1"]
    for name in names:
        (run / name).write_text("text")
    for name in (".cancel.json", ".writing-1.lock", "record.jsonl"):
        (run / name).symlink_to(tmp_path / "elsewhere")
    found = files_of(run)
    folders = [".lock.d/file", ".lock/file", ".writing-0.jsonl.x/file", ".record.lock/file"]
    assert sorted(found.regular) == sorted([*names, *folders])
    assert found.odd == dict.fromkeys((".cancel.json", ".writing-1.lock", "record.jsonl"), "a link")


def test_what_cannot_be_read_is_named_and_stops_nothing(tmp_path, monkeypatch):
    """Root reads everything, so the system's refusal is put in its place."""
    (tmp_path / "closed").mkdir()
    for name in ("closed/file", "open", "shut"):
        (tmp_path / name).write_text("text")

    def refusing(call, closed):
        def asked(path, *arguments):
            if str(path).endswith(closed):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *arguments)

        return asked

    monkeypatch.setattr(os, "scandir", refusing(os.scandir, "closed"))
    monkeypatch.setattr(tree, "file_digest", refusing(tree.file_digest, "shut"))
    found = files_of(tmp_path)
    assert (sorted(found.regular), found.odd) == (["open", "shut"], {"closed": "a folder that cannot be read"})
    assert (found.hides("closed/file"), found.hides("open")) == (True, False)
    assert list(measured(tmp_path, found.regular)) == ["open"]
    assert unreadable(tmp_path, ["shut", "gone"]) == {"shut": "a file that cannot be read"}
