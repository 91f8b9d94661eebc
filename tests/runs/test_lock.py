import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from medtune.errors import RunLockedError
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock

HOLDER = """
import sys
from medtune.runs.lock import RunLock
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


def test_the_lock_can_be_taken_again_after_release(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path / "new"):
            pass


def test_an_owner_that_has_not_named_itself_is_another_process(tmp_path, holder):
    (tmp_path / ".lock-owner.json").unlink()
    with pytest.raises(RunLockedError, match="another process"), RunLock(tmp_path):
        pass
