"""Opens plain and compressed files, and says in one sentence when one is damaged."""

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
from medtune.errors import DataError, StorageError

__all__ = ["open_bytes", "open_seekable"]

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
