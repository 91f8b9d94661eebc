"""One writer per run folder, while readers go on undisturbed."""

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

from medtune.errors import RunLockedError, WriteFailedError
from medtune.runs.durable import attempt, replace_file

__all__ = ["RunLock"]

_LOCK, _OWNER = ".lock", ".lock-owner.json"
_OWNER_WAIT = 0.3  # seconds that an owner may take between locking and naming itself


class RunLock:
    """The right to write into a run folder, held as a context manager.

    The kernel drops the lock when its process ends, however it ends, so a lock cannot go stale; the owner's process id
    and host stand beside it in ``.lock-owner.json``.

    Raises:
        RunLockedError: at once, naming process id and host, when another process holds it.
        WriteFailedError: the folder cannot be written to, or its file system has no locks.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = Path(run_dir)
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        attempt(lambda: self.run_dir.mkdir(parents=True, exist_ok=True), "the run folder", self.run_dir)
        lock = FileLock(self.run_dir / _LOCK, timeout=0)
        try:
            attempt(lock.acquire, "the lock", self.run_dir)
        except Timeout:
            raise self._locked_error() from None
        except NotImplementedError as error:
            reason = "its file system has no locks; choose an output_dir on another one"
            raise WriteFailedError("the lock", str(self.run_dir), reason) from error
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
        try:
            replace_file(self.run_dir / _OWNER, json.dumps(owner).encode(), "the lock")
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):  # a name that stays is harmless: the next owner writes its own over it
                (self.run_dir / _OWNER).unlink()
            self._lock.release()
            self._lock = None

    def _locked_error(self) -> RunLockedError:
        """Name the owner; one that locked a moment ago gets that moment to write its name."""
        deadline = time.monotonic() + _OWNER_WAIT
        while True:
            try:
                owner = json.loads((self.run_dir / _OWNER).read_bytes())
                return RunLockedError(str(self.run_dir), int(owner["pid"]), str(owner["host"]))
            except (OSError, ValueError, KeyError, TypeError):
                if time.monotonic() > deadline:
                    return RunLockedError(str(self.run_dir), None, None)
                time.sleep(0.02)
