import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from medtune.errors import SpecError, WriteFailedError
from medtune.machine import owner_only
from medtune.runs.durable import replace_file
from medtune.runs.lock import RunLock
from medtune.runs.record.chain import Change, append
from medtune.runs.store import publish


@pytest.fixture(autouse=True)
def careless_umask():
    """Give everybody everything that is not taken away."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_and_folders_are_for_their_owner_whatever_the_umask_says(tmp_path):
    owner_only.make_folder(tmp_path / "a" / "b")
    with (
        owner_only.open_text(tmp_path / "a" / "text") as text,
        owner_only.open_bytes(tmp_path / "a" / "bytes") as content,
    ):
        text.write("ä")
        content.write(b"b")
    owner_only.write_text(tmp_path / "a" / "whole", "c")
    owner_only.hide_file(tmp_path / "a" / "hidden")
    assert {path.name: mode(path) for path in tmp_path.rglob("*")} == {
        **dict.fromkeys(("a", "b"), 0o700),
        **dict.fromkeys(("text", "bytes", "whole", "hidden"), 0o600),
    }
    assert (tmp_path / "a" / "text").read_text("utf-8") == "ä"


def test_a_file_that_everybody_reads_is_hidden_when_it_is_written_again(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text("one\n")
    file.chmod(0o666)
    with owner_only.open_text(file, "a") as again:
        again.write("two\n")
    assert (mode(file), file.read_text()) == (0o600, "one\ntwo\n")


def test_a_folder_of_ours_is_closed(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir(mode=0o777)
    owner_only.close_folder(folder)
    assert mode(folder) == 0o700


@pytest.mark.parametrize(
    "write",
    [
        owner_only.open_text,
        owner_only.open_bytes,
        owner_only.hide_file,
        owner_only.staged_beside,
        lambda path: owner_only.write_text(path, "new"),
        lambda path: owner_only.open_text(path, "a"),
    ],
)
def test_no_write_follows_a_link(tmp_path, write):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with pytest.raises(OSError, match="link") as refused:
        write(link)
    assert refused.value.errno == errno.ELOOP
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_a_pipe_is_no_place_for_a_file_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for write in (owner_only.open_text, owner_only.staged_beside):
        with pytest.raises(OSError, match=r"No such device|something else than a file"):
            write(tmp_path / "pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_in_a_run_may_not_lead_out_of_it_and_the_run_itself_may_be_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    replace_file(tmp_path / "run" / "run.json", b"{}", "the run record")
    (tmp_path / "private").mkdir()
    (tmp_path / "run" / "evaluation").symlink_to(tmp_path / "private")
    with pytest.raises(OSError, match="link"):
        owner_only.make_folder(tmp_path / "run" / "evaluation")
    with pytest.raises(WriteFailedError, match="symbolic link is there, which is not followed"):
        replace_file(tmp_path / "run" / "evaluation" / "tuned.json", b"{}", "the scores")
    with pytest.raises(WriteFailedError, match="symbolic link"):
        publish(tmp_path / "run" / "evaluation" / "adapter", lambda folder: None)
    assert list((tmp_path / "private").iterdir()) == []


def test_names_of_staged_files_are_drawn_and_a_failed_write_leaves_none(tmp_path):
    first, second = owner_only.staged_beside(tmp_path / "run.json"), owner_only.staged_beside(tmp_path / "run.json")
    assert first != second
    assert {mode(first), mode(second)} == {0o600}
    owner_only.remove_staged(tmp_path)
    with pytest.raises(UnicodeEncodeError):
        owner_only.write_text(tmp_path / "page", "\ud800")
    assert list(tmp_path.iterdir()) == []


def test_a_published_folder_is_for_its_owner_while_it_is_written_and_after(tmp_path):
    seen = []

    def write(folder: Path) -> None:
        seen.append((mode(folder), folder.name))
        (folder / "weights").write_bytes(b"w")

    publish(tmp_path / "adapter", write)
    publish(tmp_path / "adapter", write)
    assert [each[0] for each in seen] == [0o700, 0o700]
    assert seen[0][1] != seen[1][1]
    assert mode(tmp_path / "adapter") == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_lock_closes_an_empty_folder_that_was_made_for_it_and_no_folder_with_other_things(tmp_path):
    for name, entries, wanted in (("empty", (), 0o700), ("project", ("notes.txt",), 0o755)):
        folder = tmp_path / name
        folder.mkdir(mode=0o755)
        for entry in entries:
            (folder / entry).touch()
        with RunLock(folder):
            assert mode(folder) == wanted
            assert mode(folder / ".lock") == mode(folder / ".lock-owner.json") == 0o600


def test_the_lock_is_no_link_and_what_killed_processes_staged_goes(tmp_path):
    (tmp_path / "run").mkdir()
    left = owner_only.staged_beside(tmp_path / "run" / "run.json")
    (tmp_path / "run" / ".kept.staging").touch()
    with RunLock(tmp_path / "run"):
        assert not left.exists()
        assert (tmp_path / "run" / ".kept.staging").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".lock").symlink_to(tmp_path / "target")
    with pytest.raises(WriteFailedError, match="symbolic link"), RunLock(tmp_path / "other"):
        pass
    assert not (tmp_path / "target").exists()


def test_processes_that_make_the_same_folders_at_once_meet_no_error(tmp_path):
    program = (
        "import sys; from pathlib import Path; from medtune.machine.owner_only import make_folder\n"
        "for i in range(400): make_folder(Path(sys.argv[1]) / str(i) / 'a' / 'b')"
    )
    racing = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in "ab"
    ]
    told = [process.communicate()[1] for process in racing]
    assert [process.returncode for process in racing] == [0, 0], told
    assert len(list(tmp_path.glob("*/a/b"))) == 400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into another user's folder and give files away")
def test_what_root_writes_into_another_users_folder_belongs_to_that_user(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    (folder / "old").write_text("of root, and linked")
    os.link(folder / "old", tmp_path / "elsewhere")
    owner_only.write_text(folder / "report.html", "r")
    owner_only.open_text(folder / "old", "a").close()
    owner_only.make_folder(folder / "a" / "b")
    publish(
        folder / "a" / "adapter",
        lambda staging: [(staging / "inner").mkdir(), (staging / "inner" / "weights").write_text("w")],
    )
    append(folder, "id", Change("report", facts={"a": 1}))
    with RunLock(folder):
        pass
    owners = {path.relative_to(folder).as_posix(): path.stat().st_uid for path in folder.rglob("*")}
    assert owners.pop("old") == 0
    assert set(owners.values()) == {65534}, owners
    assert {
        "report.html",
        "a/b",
        "a/adapter/inner/weights",
        "a/adapter/MANIFEST.json",
        "record.jsonl",
        ".record.lock",
        ".lock",
    } <= set(owners)


def test_a_place_in_a_run_that_keeps_a_record_is_refused(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "run.json").write_text("a spec of that name is no run")
    owner_only.refuse_in_run(run / "a")
    for name in ("run.json", "record.jsonl"):
        (run / name).write_text("{}")
    (tmp_path / "link").symlink_to(run)
    for place in (run / "a", run / "evaluation" / "b", tmp_path / "link" / "c", run):
        with pytest.raises(SpecError, match="would lie in the run"):
            owner_only.refuse_in_run(place)
    owner_only.refuse_in_run(run, or_run=False)
    owner_only.refuse_in_run(tmp_path / "run-masked.jsonl")
