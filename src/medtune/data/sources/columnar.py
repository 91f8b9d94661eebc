"""Reads Parquet and Arrow files batch by batch, and row by row where a batch is damaged."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, cast

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.json_text import ROW_LIMIT
from medtune.data.sources.opening import MOST_TIMES, MOST_UNPACKED, open_seekable, too_much
from medtune.data.sources.reading import Reading
from medtune.errors import DataError

__all__ = ["label_names", "read_arrow", "read_parquet"]

_BATCH = 1024  # rows turned into Python objects together
_READ_AHEAD = 2**20  # bytes per column
_MOST_DECODED = 64 * 2**20  # bytes of the values of a piece
_LONG_ROW = 64 * 2**10
"""Bytes of a row beyond which a file counts as what it unpacks to: short texts may well stand for thousands of rows."""
_FEW_ROWS = 256
_MANY_ROWS, _ROWS_PER_BYTE = 2**22, 16
_DAMAGED = "a value is damaged, not UTF-8 text, or of a type that cannot be read"


def read_parquet(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield row number (from 1), values and fault of each row; DataError when the file is not whole."""
    import pyarrow as pa
    from pyarrow import parquet

    with open_seekable(file) as stream:
        try:
            # Without these two a whole row group is read ahead, and many files are one row group.
            opened = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_AHEAD)
            _require_bounded(opened.metadata, file)
            if coded := _coded_in_lists(opened):
                stream.seek(0)
                opened = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_AHEAD, read_dictionary=coded)
            _note_labels(opened.schema_arrow, reading)
            groups = range(opened.metadata.num_row_groups)
            parts = [[number] for number in groups] if coded else [list(groups)]  # a code is one group's
            rows = _rows_at_once(opened.metadata)
            batches = (opened.iter_batches(rows, row_groups=part, use_threads=False) for part in parts)
            yield from _from_batches(chain.from_iterable(batches), file)
        except (pa.ArrowException, OSError, EOFError, ValueError):  # not chained: pyarrow's sentences may quote values
            raise DataError(f"'{file}' is not a whole Parquet file; fetch or write it again") from None


def _require_bounded(metadata: Any, file: Path) -> None:
    """Refuse a file that says itself that it unpacks to far more than text does, in bytes or in rows."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = max(metadata.serialized_size, file.stat().st_size)
    if sum(group.total_byte_size for group in groups) > max(MOST_UNPACKED, MOST_TIMES * size):
        raise too_much(file)
    if metadata.num_rows > max(_MANY_ROWS, _ROWS_PER_BYTE * size):
        raise DataError(f"'{file}' says that it has {metadata.num_rows:,} rows in {size:,} bytes; write it again")


def _coded_in_lists(opened: Any) -> list[str]:
    """Return the columns within lists whose texts may stand once for many: a single row of them has no bound until it is read.

    They are kept coded until it is known what a row unpacks to.
    """
    metadata, schema = opened.metadata, opened.schema
    return [
        schema.column(number).path
        for number in range(metadata.num_columns)
        if schema.column(number).max_repetition_level
        and schema.column(number).physical_type == "BYTE_ARRAY"
        and any(metadata.row_group(g).column(number).has_dictionary_page for g in range(metadata.num_row_groups))
    ]


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows are decoded together: a file of some bytes may hold one long text once for a million rows.

    No row is longer than all values of its columns are before they are decoded. Fewer rows at once cost microseconds a row.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [[group.column(number) for number in range(group.num_columns)] for group in groups]
    texts = [[c.total_uncompressed_size for c in each if c.physical_type == "BYTE_ARRAY"] for each in columns]
    longest = max(map(sum, texts), default=0)
    return max(1, min(_FEW_ROWS, _MOST_DECODED // max(longest, 1)))


def read_arrow(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """As ``read_parquet``, for Arrow's file format and for its stream format, which ``datasets`` writes."""
    import pyarrow as pa
    from pyarrow import ipc

    with open_seekable(file) as stream:
        try:
            try:
                opened = ipc.open_file(stream)
                schema = opened.schema
                batches: Iterator[Any] = (opened.get_batch(i) for i in range(opened.num_record_batches))
            except pa.ArrowInvalid:
                stream.seek(0)
                streamed = ipc.open_stream(stream)
                batches, schema = iter(streamed), streamed.schema
            _note_labels(schema, reading)
            yield from _from_batches(batches, file)
        except (pa.ArrowException, OSError, EOFError, ValueError):
            raise DataError(f"'{file}' is not a whole Arrow file; fetch or write it again") from None


def _note_labels(schema: Any, reading: Reading | None) -> None:
    """Note the names of numbered labels, which ``datasets`` keeps beside the schema."""
    if reading is None:
        return
    try:
        features: Any = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {column: names for column, feature in features.items() if (names := label_names(feature))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    reading.notes.labels.update(found)


def label_names(feature: Any) -> tuple[str, ...]:
    """Return the names of a ``datasets`` feature of labels or lists of labels (or its JSON form), else none."""
    for _depth in range(3):
        inner = cast("dict[str, Any]", feature) if isinstance(feature, dict) else vars(feature)
        names = inner.get("names", inner.get("_names"))
        if names:
            return tuple(map(str, names))
        feature = inner.get("feature")
        if feature is None:
            break
    return ()


def _from_batches(batches: Iterator[Any], file: Path) -> Iterator[FileRow]:
    number = unpacked = 0
    most = max(MOST_UNPACKED, MOST_TIMES * file.stat().st_size)
    for batch in batches:
        names: list[str] = batch.schema.names
        if len(set(names)) < len(names):
            raise DataError(f"'{file}' has the same name for two columns")
        for start in range(0, batch.num_rows, _BATCH):
            for piece in _pieces(batch.slice(start, _BATCH)):
                size = _decoded_bytes(piece)
                unpacked += size if size > _LONG_ROW * piece.num_rows else 0
                if unpacked > most:
                    raise too_much(file)
                for values, fault in _rows(piece):
                    number += 1
                    yield FileRow(number, values, fault)


def _pieces(batch: Any) -> Iterator[Any]:
    """Yield a batch in pieces whose values fit in memory once each row has its own."""
    if batch.num_rows <= 1 or _decoded_bytes(batch) <= _MOST_DECODED:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half))
    yield from _pieces(batch.slice(half))


def _decoded_bytes(batch: Any) -> int:
    """Return what the values of a batch take, coded texts as often as they stand; 0 where a damaged one cannot be counted."""
    return sum(map(_decoded_size, batch.columns))


def _decoded_size(column: Any) -> int:
    import pyarrow as pa
    from pyarrow import compute

    functions: Any = compute  # made while pyarrow loads
    kind = column.type
    try:
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
            of_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
            if not any(is_kind(kind) for is_kind in of_text):
                return 0
            lengths = functions.binary_length(column.dictionary)
            return functions.sum(lengths.take(column.indices)).as_py() or 0
        if pa.types.is_struct(kind):
            return sum(map(_decoded_size, column.flatten()))
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
            return _decoded_size(column.flatten())
    except (pa.ArrowException, IndexError):  # told row by row, once it is looked into
        return 0
    return int(column.nbytes)


def _rows(batch: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the rows of a batch; a damaged batch is taken apart, so that one bad row costs one row."""
    if batch.num_rows == 1 and _decoded_bytes(batch) > ROW_LIMIT:
        yield {}, f"the row is longer than {ROW_LIMIT >> 20} MiB"
        return
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
        rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")  # a name that stands twice is a KeyError
    # pyarrow's own are ValueErrors.
    except (KeyError, ValueError, OverflowError, TypeError, ImportError, NotImplementedError):
        return None
    return rows
