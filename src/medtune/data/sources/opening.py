"""Opens plain and compressed files as UTF-8, and says in one sentence when one is damaged."""

import codecs
import gzip
import io
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.paths import COMPRESSED
from medtune.data.sources.reading import Reading
from medtune.errors import DataError, StorageError

__all__ = ["Continued", "open_bytes", "open_seekable", "open_utf8"]

_IN_MEMORY = 64 * 2**20
"""Bytes above which an unpacked file that must be seekable goes to a nameless temporary file."""


@contextmanager
def open_bytes(file: Path, *, unpacked: bool = True) -> Iterator[IO[bytes]]:
    """Open a file, by default unpacked while it is read.

    Raises:
        DataError: the archive is damaged or cut off.
        StorageError: the file cannot be read.
    """
    try:
        with _unpacked(file) if unpacked else file.open("rb") as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise _damaged(file) from None
    except OSError as error:
        if error.errno is None:  # pyarrow's word for a damaged archive
            raise _damaged(file) from None
        raise StorageError(f"cannot read '{file}': {error.strerror}") from error


@contextmanager
def open_utf8(file: Path, reading: Reading) -> Iterator[IO[bytes]]:
    """Open a text file, unpacked, as the bytes of its text in UTF-8; a byte that is none of its encoding stays.

    Raises:
        DataError: as ``open_bytes``, or the text is not in the encoding at all.
        StorageError: the file cannot be read.
    """
    with open_bytes(file) as stream:
        encoding = reading.encoding or _marked_encoding(stream.read(4))
    with open_bytes(file) as stream:
        if not encoding or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
            yield stream
            return
        reading.notes.say(file.name, f"encoding {encoding}")
        try:
            yield io.BufferedReader(_Recoded(stream, encoding), 2**18)
        except UnicodeError:
            raise DataError(f"'{file}' is not {encoding} text; set data.encoding to the one it has") from None


@contextmanager
def open_seekable(file: Path) -> Iterator[Any]:
    """Open a file that is read in any order; a compressed one is unpacked as a whole first."""
    if file.suffix.lower() not in COMPRESSED:
        with open_bytes(file) as stream:
            yield stream
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as whole:
        with open_bytes(file) as stream:
            shutil.copyfileobj(stream, whole, 2**20)
        whole.seek(0)
        yield whole


def _marked_encoding(head: bytes) -> str:
    """Return the encoding that a byte order mark names, where it is another than UTF-8."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""


class Continued(io.RawIOBase):
    """Bytes already taken from a stream, then the rest of it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` and return how many bytes it took."""
        piece = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


class _Recoded(io.RawIOBase):
    """The text of a stream, encoded anew as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
        self._rest = b""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` and return how many bytes it took."""
        if not self._rest:
            self._rest = self._text.read(2**16).encode("utf-8", "surrogateescape")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def _unpacked(file: Path) -> Any:
    suffix = file.suffix.lower()
    if suffix == ".gz":
        return gzip.open(file, "rb")
    if suffix == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file)), "zstd"), 2**16)
    return file.open("rb")


def _damaged(file: Path) -> DataError:
    return DataError(f"'{file}' is not a whole {file.suffix} file; fetch it again")
