"""One writer per run folder, whom anybody may ask to stop, while readers go on undisturbed."""

import contextlib
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from medtune.errors import RunIdleError, RunLockedError, WriteFailedError
from medtune.machine.owner_only import close_folder, hide_file, make_folder, refuse_in_run, remove_staged
from medtune.runs.durable import attempt, replace_file
from medtune.specs.bounded import json_file

__all__ = ["RunLock", "cancel_run", "is_held"]

_LOCK, _OWNER, _CANCEL = ".lock", ".lock-owner.json", ".cancel.json"
_OWNER_WAIT = 0.3  # seconds that an owner may take between locking and naming itself
_LOOK_WAIT = 0.1  # seconds that somebody may hold the lock to see whether it is free


class RunLock:
    """The right to write into a run folder, held as a context manager.

    The kernel drops the lock when its process ends, however it ends, so a lock cannot go stale; the file is its owner's
    alone, so that nobody who may only read the folder holds it. The owner's process id and host stand beside it in ``.lock-owner.json``.

    Raises:
        RunLockedError: at once, naming process id and host, when another process holds it.
        WriteFailedError: the folder cannot be written to, or its file system has no locks.
        SpecError: a run that begins would lie in another one, which keeps a record.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = Path(run_dir)
        self._lock: FileLock | None = None
        self._owner = b""

    @property
    def is_cancelled(self) -> bool:
        """Whether ``cancel_run`` was called since this lock is held; a request to an earlier owner is none to this one."""
        try:
            return (self.run_dir / _CANCEL).read_bytes() == self._owner
        except OSError:
            return False

    def __enter__(self) -> Self:
        attempt(lambda: _claim(self.run_dir), "the run folder", self.run_dir)
        attempt(lambda: hide_file(self.run_dir / _LOCK), "the lock", self.run_dir)
        lock = _lock_of(self.run_dir, _LOOK_WAIT)
        try:
            attempt(lambda: lock.acquire(poll_interval=_LOOK_WAIT / 4), "the lock", self.run_dir)
        except Timeout:
            raise self._locked_error() from None
        except NotImplementedError as error:
            reason = "its file system has no locks; choose an output_dir on another one"
            raise WriteFailedError("the lock", str(self.run_dir), reason) from error
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
        self._owner = json.dumps(owner).encode()
        try:
            replace_file(self.run_dir / _OWNER, self._owner, "the lock")
        except BaseException:
            lock.release()
            raise
        for folder in (self.run_dir, self.run_dir / "evaluation"):
            with contextlib.suppress(OSError):  # what stays is in nobody's way
                remove_staged(folder)
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            for name in (_OWNER, _CANCEL):
                with contextlib.suppress(OSError):  # one that stays is harmless: the next owner has another name
                    (self.run_dir / name).unlink()
            self._lock.release()
            self._lock = None

    def _locked_error(self) -> RunLockedError:
        """Name the owner; one that locked a moment ago gets that moment to write its name."""
        deadline = time.monotonic() + _OWNER_WAIT
        while True:
            try:
                owner = json_file(self.run_dir / _OWNER)
                return RunLockedError(str(self.run_dir), int(owner["pid"]), str(owner["host"]))
            except (OSError, ValueError, KeyError, TypeError):
                if time.monotonic() > deadline:
                    return RunLockedError(str(self.run_dir), None, None)
                time.sleep(0.02)


def _claim(folder: Path) -> None:
    """Make a run folder; one that its user made for it, and where nothing else lies, is closed to others."""
    if not os.path.lexists(folder / "run.json"):
        refuse_in_run(folder)
    make_folder(folder)
    if not any(folder.iterdir()):
        close_folder(folder)


def _lock_of(folder: Path, timeout: float) -> FileLock:
    """Return the lock of a folder; only its owner can open the file, so no reader can hold it against the writer."""
    return FileLock(folder / _LOCK, timeout=timeout, mode=0o600)


def is_held(run_dir: Path) -> bool:
    """Whether a process holds the lock of a run folder, this one too; where nobody may try it, what its owner left says so."""
    if not (run_dir / _LOCK).exists():
        return False
    lock = _lock_of(run_dir, 0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return (run_dir / _OWNER).exists()
    lock.release()
    return False


def cancel_run(run_dir: str | Path) -> None:
    """Ask whoever trains in a run folder to save and stop after its update; returns at once.

    A file in the folder carries the request, so it works from any thread, process or host that can write there.

    Raises:
        RunIdleError: nobody does.
        WriteFailedError: the folder cannot be written to.
    """
    place = Path(run_dir)
    try:
        owner = (place / _OWNER).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise RunIdleError(str(run_dir)) from None
    lock = _lock_of(place, 0)
    try:
        attempt(lock.acquire, "the request to cancel", place)
    except Timeout:
        replace_file(place / _CANCEL, owner, "the request to cancel")
        return
    lock.release()
    raise RunIdleError(str(run_dir))  # its owner was killed
