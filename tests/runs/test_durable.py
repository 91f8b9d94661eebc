"""Writes are tried again when the error may pass, and else fail with one sentence; what stood there stays."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from medtune.errors import DiskFullError, StorageError, WriteFailedError
from medtune.runs import durable
from medtune.runs.durable import attempt, errno_of, replace_file, replace_written, require_space, sync_directory


class SafetensorError(Exception):
    """As safetensors raises it out of Rust."""


def failing(*codes):
    """Return an action that fails with one code after another and then returns "done"."""
    left = list(codes)

    def action():
        if left:
            raise OSError(left.pop(0), "told by the system")
        return "done"

    return action


def test_an_error_that_passes_is_waited_out_a_little_longer_each_time(tmp_path):
    waited = []
    assert attempt(failing(errno.EIO, errno.EBUSY), "the log", tmp_path, waited.append) == "done"
    assert waited == [0.1, 1.0]


def test_an_error_that_comes_three_times_is_told(tmp_path):
    waited = []
    with pytest.raises(
        WriteFailedError, match=r"cannot write the log to .*input/output error; check the device"
    ) as told:
        attempt(failing(*[errno.EIO] * 3), "the log", tmp_path, waited.append)
    assert (told.value.what, told.value.path, waited) == ("the log", str(tmp_path), [0.1, 1.0])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied; make the folder writable"),
        (errno.EPERM, "permission denied; make the folder writable"),
        (errno.EROFS, "the file system is read-only"),
        (errno.ENAMETOOLONG, "file name too long"),
    ],
)
def test_an_error_that_will_not_pass_is_told_at_once_in_words(tmp_path, code, sentence):
    waited = []
    with pytest.raises(WriteFailedError, match=sentence):
        attempt(failing(code), "the log", tmp_path, waited.append)
    assert waited == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (SafetensorError("I/O error: (os error 28)"), 28),
        (Exception("could not save (os error 5)"), 5),
        (Exception("could not save"), None),
        (SafetensorError("header too large"), None),
        (ValueError("(os error 28)"), None),
        (StorageError("put into words"), None),
    ],
)
def test_the_system_s_number_is_read_only_where_the_system_speaks(error, code):
    assert errno_of(error) == code


def test_the_cause_of_what_another_room_put_into_words_counts():
    error = StorageError("cannot be written")
    error.__cause__ = OSError(errno.EBUSY, "busy")
    assert errno_of(error) == errno.EBUSY


def test_a_failed_replacement_leaves_the_old_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "run.json"
    replace_file(path, b"old", "the run record")

    def half(staged: Path) -> None:
        assert staged.parent == tmp_path  # on the same file system, so that it can be renamed
        staged.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(WriteFailedError, match="the run record"):
        replace_written(path, half, "the run record")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_replacement_is_tried_again(tmp_path):
    waited, fail = [], failing(errno.EIO)

    def write(staged: Path) -> None:
        staged.write_bytes(b"new")
        fail()

    replace_written(tmp_path / "a.json", write, "a file", waited.append)
    assert ((tmp_path / "a.json").read_bytes(), waited) == (b"new", [0.1])


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_only_a_file_system_without_syncing_of_folders_is_excused(tmp_path, monkeypatch, code):
    seen = []

    def fsync(descriptor):
        seen.append(descriptor)
        raise OSError(code, "refused")

    monkeypatch.setattr(os, "fsync", fsync)
    told = []
    with suppress(OSError):
        sync_directory(tmp_path)
        told.append("excused")
    assert told == ([] if code == errno.EIO else ["excused"])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(seen[0])  # closed all the same


def test_the_room_of_the_nearest_folder_that_there_is_counts(tmp_path, monkeypatch):
    asked = []

    def disk_usage(path):
        asked.append(path)
        return SimpleNamespace(free=1000)

    monkeypatch.setattr(durable.shutil, "disk_usage", disk_usage)
    require_space(tmp_path / "not" / "yet", 1000)
    with pytest.raises(DiskFullError) as told:
        require_space(tmp_path / "not" / "yet", 1001)
    assert asked == [tmp_path, tmp_path]
    assert (told.value.needed_bytes, told.value.free_bytes) == (1001, 1000)
    assert str(tmp_path / "not" / "yet") in str(told.value)
