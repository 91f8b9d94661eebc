"""Readers of data files: each yields number, values and fault of a row, and survives what is wrong with one."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medtune.errors import DataError

__all__ = ["READERS", "kind_of"]

_COMPRESSED = (".gz", ".zst")
_FIELD_LIMIT = 64 * 1024 * 1024  # bytes in one CSV field; python's own limit is 128 KiB

Numbered = Iterator[tuple[int, Mapping[str, Any], str]]


def kind_of(file: Path) -> str | None:
    """Return "jsonl", "json", "csv", "parquet" or "arrow" by the file's name, None when it is none of them."""
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    last = suffixes[-1].lstrip(".") if suffixes else ""
    return {"ndjson": "jsonl", "feather": "arrow"}.get(last, last) if last in _KINDS else None


_KINDS = ("jsonl", "ndjson", "json", "csv", "parquet", "arrow", "feather")


def _read_jsonl(file: Path) -> Numbered:
    with _bytes_of(file) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield (number, *_parsed(line))


def _parsed(line: bytes) -> tuple[Mapping[str, Any], str]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return {}, "the line is not UTF-8 text"
    except (ValueError, RecursionError):
        return {}, "the line is not JSON"
    return (value, "") if isinstance(value, dict) else ({}, "the line is not a JSON object")


def _read_json(file: Path) -> Numbered:
    """Read one array of objects; larger sets are better kept as JSONL."""
    with _bytes_of(file) as stream:
        try:
            values = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise DataError(f"'{file}' is not JSON; for an object per line name it .jsonl") from error
    if not isinstance(values, list):
        raise DataError(f"'{file}' does not hold an array of objects")
    for number, value in enumerate(values, start=1):
        yield (number, value, "") if isinstance(value, dict) else (number, {}, "not a JSON object")


def _read_csv(file: Path) -> Numbered:
    csv.field_size_limit(_FIELD_LIMIT)
    with _bytes_of(file) as stream, io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text, strict=False)
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise DataError(f"'{file}' is not a CSV file: its first line cannot be read") from error
        if not header or any(_is_broken(name) for name in header):
            raise DataError(f"'{file}' has no readable header line")
        while True:
            try:
                fields = next(reader, None)
            except csv.Error:
                yield reader.line_num, {}, "the line is not CSV"
                continue
            if fields is None:
                return
            if fields:
                yield reader.line_num, *_keyed(header, fields)


def _keyed(header: list[str], fields: list[str]) -> tuple[Mapping[str, Any], str]:
    if len(fields) != len(header):
        return {}, f"{len(fields)} fields where the header has {len(header)}"
    if any(_is_broken(field) for field in fields):
        return {}, "the line is not UTF-8 text"
    return dict(zip(header, fields, strict=True)), ""


def _is_broken(text: str) -> bool:
    return any("\udc80" <= c <= "\udcff" for c in text) if not text.isascii() else False


def _read_parquet(file: Path) -> Numbered:
    import pyarrow as pa
    from pyarrow import parquet

    with _bytes_of(file, seekable=True) as stream:
        try:
            source = parquet.ParquetFile(stream)
            yield from _from_batches(source.iter_batches(batch_size=2048))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"'{file}' is not a whole Parquet file") from error


def _read_arrow(file: Path) -> Numbered:
    """Read Arrow's file and stream formats; ``datasets`` writes the latter."""
    import pyarrow as pa
    from pyarrow import ipc

    with _bytes_of(file, seekable=True) as stream:
        try:
            try:
                opened = ipc.open_file(stream)
                batches = (opened.get_batch(i) for i in range(opened.num_record_batches))
            except pa.ArrowInvalid:
                stream.seek(0)
                batches = iter(ipc.open_stream(stream))
            yield from _from_batches(batches)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise DataError(f"'{file}' is not a whole Arrow file") from error


def _from_batches(batches: Any) -> Numbered:
    number = 0
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            rows = None
        for position in range(batch.num_rows):
            number += 1
            if rows is not None:
                yield number, rows[position], ""
                continue
            try:
                yield number, batch.slice(position, 1).to_pylist()[0], ""
            except UnicodeDecodeError:
                yield number, {}, "a value is not UTF-8 text"


@contextmanager
def _bytes_of(file: Path, *, seekable: bool = False) -> Iterator[IO[bytes]]:
    """Open a plain or compressed file; a damaged archive is one sentence."""
    suffix = file.suffix.lower()
    try:
        with _decompressed(file, suffix) as stream:
            yield io.BytesIO(stream.read()) if seekable and suffix in _COMPRESSED else stream
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"'{file}' is not a whole {suffix} file") from error


def _decompressed(file: Path, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.open(file, "rb")
    if suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise DataError(f"reading '{file}' needs the package zstandard; install it or unpack the file") from error
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file.open("rb"), closefd=True))
    return file.open("rb")


READERS: Mapping[str, Callable[[Path], Numbered]] = {
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
    "arrow": _read_arrow,
}
"""Kind of file -> reader of number (from 1), values and fault of each row."""
