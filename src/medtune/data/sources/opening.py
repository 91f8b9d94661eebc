"""Opens plain and compressed files as UTF-8, and says in one sentence when one is damaged."""

import codecs
import gzip
import io
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.kinds import COMPRESSED
from medtune.data.sources.reading import Reading
from medtune.errors import DataError, StorageError

__all__ = [
    "MOST_TIMES",
    "MOST_UNPACKED",
    "Continued",
    "lines_of",
    "open_bytes",
    "open_seekable",
    "open_utf8",
    "speaks_utf8",
    "too_much",
]

_HEAD = 2**20
"""Bytes that are looked at where another encoding than UTF-8 is named."""
_CERTAIN = 3
"""Characters beyond ASCII that no text in another encoding has in UTF-8 by chance."""
_ZEROS = {b"\1\0\1\0": "utf-16-le", b"\0\1\0\1": "utf-16-be", b"\1\0\0\0": "utf-32-le", b"\0\0\0\1": "utf-32-be"}
"""Which of the first four bytes are zero, where the two first characters are ASCII's."""
_LONGEST_LINE = 2**30
MOST_UNPACKED = 16 * 2**20
MOST_TIMES = 200
"""Bytes, and times its size, beyond which an archive is no text: rows of text become five to twenty times as large."""
_IN_MEMORY = 64 * 2**20
"""Bytes above which an unpacked file that must be seekable goes to a nameless temporary file."""


@contextmanager
def open_bytes(file: Path, *, unpacked: bool = True) -> Iterator[IO[bytes]]:
    """Open a file, by default unpacked while it is read.

    Raises:
        DataError: the archive is damaged or cut off, or unpacks to far more than text does; or this is no regular file.
        StorageError: the file cannot be read.
    """
    try:
        with _unpacked(file) if unpacked else _regular(file) as stream:
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

    What the file itself shows goes before the encoding that the user names for all files: its mark, or the zeros of UTF-16.

    Raises:
        DataError: as ``open_bytes``, or the text is not in the encoding at all, or is UTF-8 where another one is named.
        StorageError: the file cannot be read.
    """
    with open_bytes(file) as stream:
        head = stream.read(_HEAD if reading.encoding else 4)
        encoding = _shown_encoding(head) or reading.encoding
    is_told = encoding == reading.encoding and encoding and not codecs.lookup(encoding).name.startswith("utf")
    if is_told and sum(map(_count_utf8, head.split(b"\n"))) >= _CERTAIN:
        raise DataError(
            f"'{file}' holds UTF-8 text, which data.encoding={encoding} would garble; leave data.encoding out, and write files "
            "in another encoding anew in UTF-8"
        )
    with open_bytes(file) as stream:
        if not encoding or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
            yield stream  # readers skip its mark
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


def speaks_utf8(file: Path) -> bool:
    """Whether some line of a file has other characters than ASCII's, in UTF-8."""
    with open_bytes(file) as stream:
        return _shown_encoding(stream.read(4)) == "utf-8" or any(_count_utf8(line) for line in stream)


def _count_utf8(text: bytes) -> int:
    """Count characters beyond ASCII, 0 where the bytes are no UTF-8; a last one that is cut off does not count."""
    if text.isascii():
        return 0
    try:
        return sum(character > "\x7f" for character in codecs.getincrementaldecoder("utf-8")().decode(text))
    except UnicodeDecodeError:
        return 0


def _shown_encoding(head: bytes) -> str:
    """Return the encoding that a byte order mark names or, without one, the zeros between the first two characters."""
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # behind UTF-32's, which begins alike
    if marked := next((name for mark, name in marks.items() if head.startswith(mark)), ""):
        return marked
    return _ZEROS.get(bytes(map(bool, head[:4])), "")


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


def lines_of(stream: IO[bytes], most: int) -> Iterator[bytes]:
    """Yield the lines of a stream with their ends; one that is longer than ``most`` bytes is yielded as its first bytes, without one.

    Raises:
        DataError: a line has no end for so long that this is no file of lines.
    """
    while line := stream.readline(most):
        yield line
        skipped = 0
        while len(line) == most and not line.endswith(b"\n") and (rest := stream.readline(2**20)):
            skipped += len(rest)
            if rest.endswith(b"\n"):
                break
            if skipped > _LONGEST_LINE:
                raise DataError(
                    f"the file holds a line of more than {_LONGEST_LINE >> 20} MiB, so it is no file of rows"
                )


@contextmanager
def _unpacked(file: Path) -> Iterator[IO[bytes]]:
    suffix = file.suffix.lower()
    with _regular(file) as packed:
        if suffix == ".gz":
            with gzip.open(packed, "rb") as unpacked:
                yield io.BufferedReader(_Capped(unpacked, file), 2**18)
        elif suffix == ".zst":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd") as unpacked:
                yield io.BufferedReader(_Capped(unpacked, file), 2**18)
        else:
            yield packed


def _regular(file: Path) -> IO[bytes]:
    """Open a regular file; a pipe would keep whoever opens it waiting, and a device has no end."""
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    stream = os.fdopen(descriptor, "rb")
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return stream
    stream.close()
    raise DataError(f"'{file}' is a pipe, a device or a folder; write its rows to a regular file")


class _Capped(io.RawIOBase):
    """What an archive unpacks to, which ends in an error where that is out of all proportion."""

    def __init__(self, unpacked: Any, file: Path) -> None:
        self._unpacked, self._file, self._count = unpacked, file, 0
        self._most = max(MOST_UNPACKED, MOST_TIMES * file.stat().st_size)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` and return how many bytes it took."""
        piece = self._unpacked.read(len(buffer))
        self._count += len(piece)
        if self._count > self._most:
            raise too_much(self._file)
        buffer[: len(piece)] = piece
        return len(piece)


def too_much(file: Path) -> DataError:
    """Return the error of an archive that unpacks to more than text does."""
    return DataError(
        f"'{file}' unpacks to more than {MOST_UNPACKED >> 20} MiB and {MOST_TIMES} times its size, which no rows of text do; "
        "unpack it where you trust it"
    )


def _damaged(file: Path) -> DataError:
    return DataError(f"'{file}' is not a whole {file.suffix} file; fetch it again")
