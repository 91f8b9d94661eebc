"""Files and folders that only their owner reads, whatever the umask says; no write follows a link."""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from medtune.errors import SpecError

__all__ = [
    "RECORD_FILE",
    "close_folder",
    "give_folder",
    "hide_file",
    "is_own",
    "is_staged",
    "make_folder",
    "open_bytes",
    "open_descriptor",
    "open_text",
    "own_folder_beside",
    "refuse_in_run",
    "refuse_link_out",
    "remove_staged",
    "staged_beside",
    "staged_text",
    "write_text",
]

_FILE, _FOLDER, _OTHERS, _OTHERS_WRITE = 0o600, 0o700, 0o077, 0o022
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none, and gives files the rights of their folder
_RECORD = "run.json"  # stands in every run folder
RECORD_FILE = "record.jsonl"
"""Name of the record that a run folder keeps of all of its files."""
_STAGED = re.compile(r"\..+\.[a-z0-9_]{8}\.staging")


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each for its owner only; one that is there stays as it is.

    Raises:
        OSError: it cannot be made, something else is there, or a link out of a run folder.
    """
    refuse_link_out(path)
    try:
        try:
            path.mkdir(mode=_FOLDER)
        except FileNotFoundError:
            if path.parent == path:
                raise
            make_folder(path.parent)
            path.mkdir(mode=_FOLDER)  # once more, and not again: /proc is there and takes none
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    _give_to_owner(path)
    path.chmod(_FOLDER)  # a folder with a set-group-id bit, or a default list of rights, may have given more


def refuse_link_out(folder: Path) -> None:
    """Raise OSError (ELOOP) where a folder in a run folder is a link; the run folder itself may be one, as its user named it."""
    if folder.is_symlink() and (folder.parent / _RECORD).exists():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))


def refuse_in_run(path: Path, *, or_run: bool = True) -> None:
    """Refuse a place of a user's choice that lies in a run folder: the run's record would not know what is written there.

    Args:
        path: file or folder that a command is going to write.
        or_run: whether the run folder itself is no place either.

    Raises:
        SpecError: it does.
    """
    place = path.resolve()
    for above in (place, *place.parents) if or_run else place.parents:
        if os.path.lexists(above / RECORD_FILE) and os.path.lexists(above / _RECORD):
            raise SpecError(
                f"'{path}' would lie in the run '{above}', whose record knows only what commands wrote of the run itself; name a place "
                "outside of it"
            )


def close_folder(path: Path) -> None:
    """Take everybody else's rights from a folder of this user; what belongs to another user stays as it is."""
    found = path.stat()
    if _is_ours(found) and found.st_mode & _OTHERS:
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)


def open_text(path: Path, mode: Literal["w", "a", "x"] = "w") -> TextIO:
    """Open a file in UTF-8 as ``open`` does, for its owner only.

    Raises:
        OSError: it cannot be opened; it is a link (ELOOP), or no file.
    """
    return open(path, mode, encoding="utf-8", opener=open_descriptor)


def open_bytes(path: Path, mode: Literal["wb", "ab", "xb"] = "wb") -> BinaryIO:
    """Open a file as ``open`` does, for its owner only.

    Raises:
        OSError: it cannot be opened; it is a link (ELOOP), or no file.
    """
    return open(path, mode, opener=open_descriptor)


def open_descriptor(path: str | Path, flags: int) -> int:
    """Open a file for its owner only and return its descriptor; may be given to ``open`` as its opener.

    Raises:
        OSError: it cannot be opened; it is a link (ELOOP), or no file.
    """
    # Without waiting: a pipe that nobody reads would keep its writer forever.
    flags |= _NO_LINK | getattr(os, "O_NONBLOCK", 0)
    descriptor, is_new = (
        _opened(path, flags) if _is_root() and flags & os.O_CREAT else (os.open(path, flags, _FILE), False)
    )
    try:
        if is_new:
            _give_to_owner(Path(path), descriptor)
        found = os.fstat(descriptor)
        _require_file(found, path)
        if os.name != "nt" and _is_ours(found) and found.st_mode & _OTHERS:  # an earlier medtune's, or the user's own
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 for its owner only; one that is there is replaced at once.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with staged_text(path) as file:
        file.write(text)


@contextmanager
def staged_text(path: Path) -> Iterator[TextIO]:
    """Open a file in UTF-8, for its owner only, that takes the place of ``path`` when the block ends.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    staged = staged_beside(path)
    try:
        with open_text(staged) as file:
            yield file
        staged.replace(path)
    except BaseException:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise


def staged_beside(path: Path) -> Path:
    """Make an empty file beside ``path`` under a name that nobody can foresee, for its owner only.

    Raises:
        OSError: it cannot be made; or what is to be replaced is a link (ELOOP), or no file.
    """
    with suppress(FileNotFoundError):
        _require_file(path.lstat(), path)  # replacing a device, or where a link leads, is nobody's wish
    descriptor, name = tempfile.mkstemp(".staging", f".{path.name}.", path.parent)
    _give_to_owner(Path(name), descriptor)
    os.close(descriptor)
    return Path(name)


def own_folder_beside(path: Path, prefix: str) -> Path:
    """Make an empty folder beside ``path`` under a name that begins with ``prefix`` and that nobody can foresee."""
    made = Path(tempfile.mkdtemp(prefix=f"{prefix}{path.name}-", dir=path.parent))
    _give_to_owner(made)
    return made


def is_staged(name: str) -> bool:
    """Whether ``staged_beside`` gives files names like that."""
    return _STAGED.fullmatch(name) is not None


def remove_staged(folder: Path) -> None:
    """Remove what killed processes left of ``staged_beside``; only where no other one writes."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if is_staged(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)


def hide_file(path: Path) -> None:
    """Take everybody else's rights from a file that a library is going to write, or has written; it is made where it is absent."""
    os.close(open_descriptor(path, os.O_WRONLY | os.O_CREAT))


def _require_file(found: os.stat_result, path: str | Path) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a symbolic link is there, which is not followed", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "something else than a file is there", str(path))


def is_own(path: Path, is_kind: Callable[[int], bool], *, alone: bool = False) -> bool:
    """Whether a path is this user's, and of a kind itself, such as ``stat.S_ISDIR``, not what it links to.

    Args:
        path: file or folder.
        is_kind: takes its mode.
        alone: whether it also has to be one that nobody else can write to.
    """
    try:
        found = path.lstat()
    except OSError:
        return False
    is_shared = alone and os.name != "nt" and bool(found.st_mode & _OTHERS_WRITE)
    return is_kind(found.st_mode) and _is_ours(found) and not is_shared


def _is_ours(found: os.stat_result) -> bool:
    return os.name == "nt" or found.st_uid == os.geteuid()


def _is_root() -> bool:
    return os.name != "nt" and os.geteuid() == 0


def _opened(path: str | Path, flags: int) -> tuple[int, bool]:
    """Open a file and say whether it was made here: only such a one may be given away, others may be anybody's by another name."""
    try:
        return os.open(path, flags | os.O_EXCL, _FILE), True
    except FileExistsError:
        return os.open(path, flags, _FILE), False


def give_folder(folder: Path) -> None:
    """Give what root, by whatever library, has written into a folder to the owner of the folder that holds it."""
    if not _is_root() or folder.parent.stat().st_uid == 0:
        return
    owner = folder.parent.stat()
    for _place, folders, files, here in os.fwalk(folder):
        for name in (*folders, *files):
            opened = os.open(name, os.O_RDONLY | _NO_LINK | os.O_NONBLOCK, dir_fd=here)
            try:
                found = os.fstat(opened)
                if found.st_uid == 0 and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1):  # no file of elsewhere
                    os.fchown(opened, owner.st_uid, owner.st_gid)
            finally:
                os.close(opened)


def _give_to_owner(path: Path, descriptor: int | None = None) -> None:
    """Give what root has just made in another user's folder to that user, who could not read it otherwise.

    Args:
        path: file or folder.
        descriptor: of the file; None for a folder, which is opened.
    """
    if not _is_root():
        return
    above = path.parent.stat()
    if above.st_uid == 0:
        return
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK) if descriptor is None else descriptor
    try:
        os.fchown(opened, above.st_uid, above.st_gid)
    finally:
        if descriptor is None:
            os.close(opened)
