import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest

from medtune.errors import RunIdleError, RunLockedError, WriteFailedError
from medtune.runs import lock as lock_module
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock, cancel_run

HOLDER = """
import sys
from medtune.runs.lock import RunLock, cancel_run
with RunLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_in_under_a_second_by_pid_and_host(tmp_path, holder):
    start = time.monotonic()
    with pytest.raises(RunLockedError) as caught, RunLock(tmp_path):
        pass
    assert time.monotonic() - start < 1
    assert (caught.value.pid, caught.value.host) == (holder.pid, socket.gethostname())
    assert str(holder.pid) in str(caught.value)
    assert caught.value.path == str(tmp_path)
    assert caught.value.exit_code == 5


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock-owner.json").read_bytes())["pid"] == os.getpid()


def test_readers_are_not_blocked(tmp_path, holder):
    folder = RunFolder(tmp_path)
    folder.create({}, {}, {})
    assert folder.state == "planned"
    assert holder.poll() is None


def test_a_released_lock_leaves_no_owner_and_a_failed_naming_no_lock(tmp_path, monkeypatch):
    with RunLock(tmp_path):
        owner = json.loads((tmp_path / ".lock-owner.json").read_bytes())
        assert datetime.fromisoformat(owner["since"]).utcoffset() == timedelta(0)
    assert not (tmp_path / ".lock-owner.json").exists()

    def fail(*_):
        raise WriteFailedError("the lock", str(tmp_path), "full")

    with monkeypatch.context() as patched:
        patched.setattr(lock_module, "replace_file", fail)
        with pytest.raises(WriteFailedError, match="full"):
            RunLock(tmp_path).__enter__()
    with RunLock(tmp_path):
        pass


def test_a_file_system_without_locks_is_refused_with_what_to_do(tmp_path, monkeypatch):
    def acquire(_lock, **_):
        raise NotImplementedError

    monkeypatch.setattr(lock_module.FileLock, "acquire", acquire)
    with pytest.raises(WriteFailedError, match=r"the lock .*has no locks; choose an output_dir on another one"):
        RunLock(tmp_path).__enter__()


def test_the_lock_can_be_taken_again_after_release(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path / "new"):
            pass


def test_an_owner_that_has_not_named_itself_is_another_process(tmp_path, holder):
    (tmp_path / ".lock-owner.json").unlink()
    with pytest.raises(RunLockedError, match="another process") as caught, RunLock(tmp_path):
        pass
    assert caught.value.path == str(tmp_path)


def test_a_folder_that_cannot_be_made_is_told_by_its_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteFailedError) as told:
        RunLock(tmp_path / "file" / "run").__enter__()
    assert (told.value.what, told.value.path) == ("the run folder", str(tmp_path / "file" / "run"))


def test_a_request_to_cancel_reaches_its_owner_from_another_process(tmp_path):
    with RunLock(tmp_path) as lock:
        assert not lock.is_cancelled
        ask = "import sys; from medtune.runs.lock import cancel_run; cancel_run(sys.argv[1])"
        subprocess.run([sys.executable, "-c", ask, str(tmp_path)], check=True)
        assert lock.is_cancelled
    assert not (tmp_path / ".cancel.json").exists()


def test_a_request_to_an_owner_that_was_killed_is_none_to_the_next(tmp_path, holder):
    cancel_run(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".cancel.json").exists()
    with pytest.raises(RunIdleError):
        cancel_run(tmp_path)
    with RunLock(tmp_path) as lock:
        assert not lock.is_cancelled


def opened_by_another_user(path):
    """Return the exit code of a process of another user that tries to open a file to read it."""
    if (child := os.fork()) == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.close(os.open(path, os.O_RDONLY))
        except PermissionError:
            os._exit(13)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become another user")
def test_who_may_only_read_a_run_folder_cannot_hold_its_lock(tmp_path):
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    (tmp_path / ".lock").touch()
    (tmp_path / ".lock").chmod(0o644)  # an earlier release's
    assert opened_by_another_user(tmp_path / ".lock") == 0  # who opened it could hold it
    with RunLock(tmp_path):
        assert opened_by_another_user(tmp_path / ".lock") == 13
    (tmp_path / ".lock").unlink()
    before = os.umask(0)
    try:
        with RunLock(tmp_path):
            assert opened_by_another_user(tmp_path / ".lock") == 13
    finally:
        os.umask(before)
