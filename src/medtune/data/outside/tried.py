"""Remembers by their content what was tried before, in the cache folder, where only its owner can write."""

import hashlib
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from medtune.data.cache import default_cache_dir
from medtune.data.cache_folder import mark
from medtune.machine.owner_only import is_own, make_folder, open_bytes

__all__ = ["Tried", "digest_of_files", "digest_of_text"]

_LIBRARIES = ("jinja2", "tokenizers", "transformers")
"""What uses the content: another release may take longer."""
_FORM = "1"
"""Goes up when more is tried than before."""
_FOLDER = "tried"


def digest_of_files(files: Iterable[Path], folder: Path) -> str:
    """Return what stands for the content and the names of files."""
    whole = hashlib.sha256(_beginning("files"))
    for file in sorted(files):
        with file.open("rb") as stream:
            inner = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()}\0{inner}\n".encode())
    return whole.hexdigest()


def digest_of_text(text: str) -> str:
    """Return what stands for a text."""
    whole = hashlib.sha256(_beginning("text"))
    whole.update(text.encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


@cache
def _beginning(kind: str) -> bytes:
    return "\0".join((kind, _FORM, *map(version, _LIBRARIES))).encode()


class Tried:
    """The digests of what was tried, an empty file each."""

    def __init__(self) -> None:
        self._folder = default_cache_dir() / _FOLDER

    def __contains__(self, digest: str) -> bool:
        """Whether this was tried by this user: a folder or file that another could have written says nothing."""
        file = self._folder / digest
        return is_own(self._folder, stat.S_ISDIR, alone=True) and is_own(file, stat.S_ISREG, alone=True)

    def add(self, *digests: str) -> None:
        """Remember; where the cache cannot be written, the next process tries again."""
        with suppress(OSError):
            mark(self._folder.parent)
            make_folder(self._folder)
            for digest in digests:
                open_bytes(self._folder / digest).close()
