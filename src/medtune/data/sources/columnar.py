"""Reads Parquet and Arrow files batch by batch, and row by row where a batch is damaged."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.opening import open_seekable
from medtune.errors import DataError

__all__ = ["read_arrow", "read_parquet"]

_BATCH = 1024  # rows turned into Python objects together
_READ_AHEAD = 2**20  # bytes per column
_DAMAGED = "a value is damaged, not UTF-8 text, or of a type that cannot be read"


def read_parquet(file: Path) -> Iterator[FileRow]:
    """Yield row number (from 1), values and fault of each row; DataError when the file is not whole."""
    import pyarrow as pa
    from pyarrow import parquet

    with open_seekable(file) as stream:
        try:
            # Without these two a whole row group is read ahead, and many files are one row group.
            opened = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_AHEAD)
            batches = opened.iter_batches(batch_size=_BATCH, use_threads=False)
            yield from _from_batches(batches, file)
        except (pa.ArrowException, OSError, EOFError, ValueError):  # not chained: pyarrow's sentences may quote values
            raise DataError(f"'{file}' is not a whole Parquet file; fetch or write it again") from None


def read_arrow(file: Path) -> Iterator[FileRow]:
    """As ``read_parquet``, for Arrow's file format and for its stream format, which ``datasets`` writes."""
    import pyarrow as pa
    from pyarrow import ipc

    with open_seekable(file) as stream:
        try:
            try:
                opened = ipc.open_file(stream)
                batches: Iterator[Any] = (opened.get_batch(i) for i in range(opened.num_record_batches))
            except pa.ArrowInvalid:
                stream.seek(0)
                batches = iter(ipc.open_stream(stream))
            yield from _from_batches(batches, file)
        except (pa.ArrowException, OSError, EOFError, ValueError):
            raise DataError(f"'{file}' is not a whole Arrow file; fetch or write it again") from None


def _from_batches(batches: Iterator[Any], file: Path) -> Iterator[FileRow]:
    number = 0
    for batch in batches:
        names: list[str] = batch.schema.names
        if len(set(names)) < len(names):
            raise DataError(f"'{file}' has the same name for two columns")
        for start in range(0, batch.num_rows, _BATCH):
            for values, fault in _rows(batch.slice(start, _BATCH)):
                number += 1
                yield FileRow(number, values, fault)


def _rows(batch: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the rows of a batch; a damaged batch is taken apart, so that one bad row costs one row."""
    values = _values(batch)
    if values is not None:
        for row in values:
            yield row, ""
        return
    for position in range(batch.num_rows):
        alone = _values(batch.slice(position, 1))
        yield (alone[0], "") if alone else ({}, _DAMAGED)


def _values(batch: Any) -> list[dict[str, Any]] | None:
    """Return the rows as mappings, None when a value cannot be read.

    The full check costs a tenth of the conversion. Without it, a damaged offset would make Arrow read other memory.
    """
    try:
        batch.validate(full=True)
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError, TypeError, ImportError, NotImplementedError):  # pyarrow's own are ValueErrors
        return None
    return rows
