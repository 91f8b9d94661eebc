"""What in a cache folder medtune wrote, whether somebody still writes it, and how it goes; nothing else is ever touched."""

import json
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medtune.errors import ForeignFolderError, StorageError
from medtune.machine.owner_only import is_own, is_staged, make_folder, open_bytes, write_text
from medtune.specs.bounded import json_file

__all__ = [
    "FACTS_FILE",
    "MARKER",
    "entry_folders",
    "is_old",
    "is_own_set",
    "is_written",
    "mark",
    "new_staging",
    "release",
    "remove_set",
    "require_own",
    "require_readable",
    "size_of",
    "staging_folders",
]

FACTS_FILE = "facts.json"
MARKER = ".medtune-cache"
_WRITER_FILE = "writer.json"
_STAGING = ".staging-"
_KEY = re.compile(r"[0-9a-f]{64}")
_STAGED = re.compile(re.escape(_STAGING) + r"[0-9A-Za-z]+")
_FILE = re.compile(r"[a-z_]+\.(bin|json|jsonl)")
_MARKED = b"Data sets that medtune prepared lie here; `medtune cache clear` removes them, and nothing else.\n"
_ABANDONED_SECONDS = 24 * 3600
"""Age after which the files of a process that never finished go, where locks cannot tell: none writes nothing for a day."""


def mark(root: Path) -> None:
    """Make the folder, and say in it that it is medtune's cache."""
    make_folder(root)
    with suppress(FileExistsError), open_bytes(root / MARKER, "xb") as file:
        file.write(_MARKED)


def require_own(root: Path) -> None:
    """Refuse to remove anything from a folder that medtune did not mark; one without a marker that holds nothing but sets is an earlier release's.

    Raises:
        ForeignFolderError: it is a link, another user's, or not marked.
    """
    if root.is_symlink():
        raise ForeignFolderError(str(root), f"is a link to '{root.resolve()}'")
    if not is_own(root, stat.S_ISDIR):
        raise ForeignFolderError(str(root), "is no folder of this user")
    marker = root / MARKER
    if not is_own(marker, stat.S_ISREG) and not all(is_own_set(f) or _is_staging(f) for f in root.iterdir()):
        raise ForeignFolderError(str(root), f"holds files of others and no {MARKER}")


def require_readable(root: Path) -> None:
    """Refuse to say what is in a folder that cannot be listed; one that was never made holds nothing.

    Raises:
        StorageError: it cannot be read by this user.
    """
    try:
        next(root.iterdir(), None)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(
            f"cannot list the cache '{root}': {error.strerror}; set MEDTUNE_CACHE to your own"
        ) from error


def entry_folders(root: Path) -> list[Path]:
    """Return the folders whose names are keys of prepared sets."""
    return [f for f in _within(root) if _KEY.fullmatch(f.name)]


def staging_folders(root: Path) -> list[Path]:
    """Return the folders of sets that were not finished, or not yet."""
    return [f for f in _within(root) if _is_staging(f)]


def is_own_set(folder: Path) -> bool:
    """Whether a folder is this user's, named as medtune names sets, no link, and holds nothing but files that medtune writes."""
    is_named = _KEY.fullmatch(folder.name) is not None or _STAGED.fullmatch(folder.name) is not None
    return is_named and is_own(folder, stat.S_ISDIR) and all(map(_is_own_file, _within(folder)))


def is_written(folder: Path) -> bool:
    """Whether a process still writes into a staging folder: of one that ended, however it did, no lock is left.

    Locks tell that of this host's processes only: on a network file system another host's may not be seen here.
    """
    held = None if _is_of_other_host(folder) else _is_held(folder)
    return not is_old(folder) if held is None else held


def is_old(folder: Path) -> bool:
    """Whether nothing was written into a folder for a day."""
    times = [p.lstat().st_mtime for p in (*_within(folder), folder)]
    return max(times) < time.time() - _ABANDONED_SECONDS


@contextmanager
def new_staging(root: Path) -> Iterator[Path]:
    """Make a folder to write a set into, held until the block ends; only this user can open it, so nobody else can hold it."""
    folder, descriptor = _held_folder(root)
    try:
        if is_own(folder, stat.S_ISDIR):  # else whoever writes the set is told at once that it could not be read
            write_text(folder / _WRITER_FILE, json.dumps({"host": socket.gethostname()}))
        yield folder
    finally:
        if descriptor is not None:
            os.close(descriptor)


def release(folder: Path) -> None:
    """Take away from a finished set what says who writes it."""
    (folder / _WRITER_FILE).unlink(missing_ok=True)


def remove_set(folder: Path) -> int:
    """Remove a set, or what is left of one, and return the bytes freed; it is gone for readers at once, who keep what they opened.

    Raises:
        ForeignFolderError: it holds something that medtune did not write, or it is a link.
        OSError: the system refuses.
    """
    if not is_own_set(folder):
        raise ForeignFolderError(str(folder.parent), f"has a '{folder.name}' with files that medtune did not write")
    size = size_of(folder)
    doomed = folder.with_name(f"{_STAGING}{uuid.uuid4().hex}")
    folder.rename(doomed)
    shutil.rmtree(doomed)
    return size


def size_of(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(p.lstat().st_size for p in _within(folder))


def _within(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # removed meanwhile, or never made
        return []


def _is_staging(folder: Path) -> bool:
    return _STAGED.fullmatch(folder.name) is not None


def _is_own_file(path: Path) -> bool:
    is_named = _FILE.fullmatch(path.name) is not None or is_staged(path.name)  # of a process killed as it wrote
    return is_named and is_own(path, stat.S_ISREG)


def _is_of_other_host(folder: Path) -> bool:
    try:
        return bool(json_file(folder / _WRITER_FILE)["host"] != socket.gethostname())
    except (OSError, ValueError, KeyError, TypeError):  # an earlier release's, or one that had no time to write it
        return False


def _held_folder(root: Path) -> tuple[Path, int | None]:
    """Return a new folder and what it is held by; one that another process looks at, or clears, before it is held is none."""
    while True:
        folder = root / f"{_STAGING}{uuid.uuid4().hex}"
        make_folder(folder)
        with suppress(BlockingIOError, FileNotFoundError):
            descriptor = _lock(folder)
            if folder.exists():
                return folder, descriptor
            if descriptor is not None:
                os.close(descriptor)


def _is_held(folder: Path) -> bool | None:
    """Whether a process holds a folder; None where locks cannot tell."""
    try:
        descriptor = _lock(folder)
    except BlockingIOError:
        return True
    if descriptor is None:
        return None
    os.close(descriptor)
    return False


def _lock(folder: Path) -> int | None:
    """Hold a folder by the kernel's lock, which goes with its process; None where there are none.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
