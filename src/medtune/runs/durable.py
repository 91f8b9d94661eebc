"""Writes that survive a crash, for their owner only: synced, renamed into place, retried, else one clear sentence."""

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from medtune.errors import DiskFullError, StorageError, WriteFailedError
from medtune.machine.disk_room import nearest_folder
from medtune.machine.owner_only import refuse_link_out, staged_beside

__all__ = [
    "Pause",
    "attempt",
    "errno_of",
    "replace_file",
    "replace_written",
    "require_space",
    "sync_directory",
    "sync_file",
]

Pause = Callable[[float], None]
"""Waits that many seconds between two attempts; tests pass one that returns at once."""

T = TypeVar("T")

_DELAYS = (0.1, 1.0)  # seconds before the second and the third attempt
_PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EIO: "the disk reports an input/output error; check the device, then run the same command again",
    errno.EACCES: "permission denied; make the folder writable or choose another output_dir",
    errno.EPERM: "permission denied; make the folder writable or choose another output_dir",
    errno.ELOOP: "a symbolic link is there, which is not followed; remove it or choose another output_dir",
    errno.EROFS: "the file system is read-only; remount it or choose another output_dir",
}


def attempt(action: Callable[[], T], what: str, path: Path, pause: Pause = time.sleep) -> T:
    """Return ``action()``, tried again when the system's error may pass.

    Raises:
        WriteFailedError: the error does not pass, or came three times. ``action`` must be safe to repeat.
    """
    for delay in (*_DELAYS, None):
        try:
            return action()
        except Exception as error:
            code = errno_of(error)
            if code is None:
                raise
            if delay is None or code not in _PASSING:
                reason = _REASONS.get(code, os.strerror(code).lower())
                raise WriteFailedError(what, str(path), reason) from error
        pause(delay)
    raise AssertionError  # the loop returns or raises


def errno_of(error: BaseException) -> int | None:
    """Return the system's error number behind ``error``, None when it has no such cause.

    safetensors and tokenizers write from Rust and tell the number only inside their message; tokenizers raises a plain
    Exception.
    """
    if type(error) is StorageError and error.__cause__ is not None:  # another room put it into words
        error = error.__cause__
    if isinstance(error, OSError):
        return error.errno
    if type(error) is Exception or type(error).__name__ == "SafetensorError":
        found = re.search(r"\(os error (\d+)\)", str(error))
        return int(found[1]) if found else None
    return None


def replace_file(path: Path, content: bytes, what: str, pause: Pause = time.sleep) -> None:
    """Put ``content`` at ``path`` so that after a crash either the old or the new content is there."""
    replace_written(path, lambda staged: staged.write_bytes(content), what, pause)


def replace_written(path: Path, write: Callable[[Path], object], what: str, pause: Pause = time.sleep) -> None:
    """Let ``write`` fill a file beside ``path``, and put it at ``path`` as ``replace_file`` does."""
    attempt(lambda: _replace_once(path, write), what, path, pause)


def sync_file(path: Path) -> None:
    """Force a file's content to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a directory's entries to the device, where the platform and file system can."""
    if os.name == "nt":  # directories cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems have nothing to sync
            raise
    finally:
        os.close(descriptor)


def require_space(path: Path, needed_bytes: int) -> None:
    """Raise DiskFullError unless the file system of ``path``, or of its nearest parent, has that much room."""
    free = shutil.disk_usage(nearest_folder(path)).free
    if free < needed_bytes:
        raise DiskFullError(str(path), needed_bytes, free)


def _replace_once(path: Path, write: Callable[[Path], object]) -> None:
    refuse_link_out(path.parent)
    staged = staged_beside(path)
    try:
        write(staged)
        sync_file(staged)
        staged.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
    sync_directory(path.parent)
