"""Remembers by their content what was tried before, in the cache folder, where only its owner can write."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from medtune.data.cache import default_cache_dir

__all__ = ["Tried", "digest_of_files", "digest_of_text"]

_LIBRARIES = ("jinja2", "tokenizers", "transformers")
"""What uses the content: another release may take longer."""
_FORM = "1"
"""Goes up when more is tried than before."""
_FOLDER = "tried"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def digest_of_files(files: Iterable[Path], folder: Path) -> str:
    """Return what stands for the content and the names of files."""
    whole = _begun("files")
    for file in sorted(files):
        with file.open("rb") as stream:
            inner = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()}\0{inner}\n".encode())
    return whole.hexdigest()


def digest_of_text(text: str) -> str:
    """Return what stands for a text."""
    whole = _begun("text")
    whole.update(text.encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def _begun(kind: str) -> "hashlib._Hash":
    return hashlib.sha256("\0".join((kind, _FORM, *map(version, _LIBRARIES))).encode())


class Tried:
    """The digests of what was tried, an empty file each."""

    def __init__(self) -> None:
        self._folder = default_cache_dir() / _FOLDER

    def __contains__(self, digest: str) -> bool:
        """Whether this was tried by this user: a folder or file that another could have written says nothing."""
        return _is_own(self._folder, stat.S_ISDIR) and _is_own(self._folder / digest, stat.S_ISREG)

    def add(self, *digests: str) -> None:
        """Remember; where the cache cannot be written, the next process tries again."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for digest in digests:
                flags = os.O_CREAT | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
                os.close(os.open(self._folder / digest, flags, 0o600))


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE)
    return is_kind(found.st_mode) and mine
