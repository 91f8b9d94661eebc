"""Reads CSV files, and gives every line of a record that cannot be told apart its place."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.csv_dialect import Dialect, find_dialect
from medtune.data.sources.file_row import NOT_UTF8, FileRow
from medtune.data.sources.opening import open_utf8
from medtune.data.sources.reading import Reading
from medtune.errors import DataError

__all__ = ["read_csv"]

_HEAD = 2**16
"""Bytes that the dialect is found out from."""
_STATED = re.compile(r'"?sep=([^\r\n"])"?[^\S\r\n]*(?:\r\n?|\n)', re.IGNORECASE)
"""What Excel writes, and reads, before the header to say which character separates the fields."""
_FIELD_LIMIT = 16 * 2**20
"""Characters of one field; python's own limit, 128 KiB, is less than a discharge letter may have."""


def read_csv(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield the first line (from 1), values and fault of each record; values are text.

    Quotes are read strictly: a stray one would silently join records. Every line of a record whose quotes do not match
    is a malformed row, since nobody knows how many records they were. Records that repeat the header, as joined files
    have them, are counted and left out.

    Args:
        file: the file.
        reading: its delimiter and encoding, where they are known, and where the dialect is noted.

    Raises:
        DataError: the first line does not name the columns.
    """
    csv.field_size_limit(max(_FIELD_LIMIT, csv.field_size_limit()))
    reading = reading or Reading()
    dialect, before = _dialect(file, reading)
    with (
        open_utf8(file, reading) as stream,
        io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        for _line in range(before):
            text.readline()
        records = dialect.records(_lines(text, file))
        header = _header(records, file)
        while True:
            first = before + records.line_num + 1
            try:
                fields = next(records, None)
            except csv.Error:
                for line in range(first, before + records.line_num + 1):
                    yield FileRow(line, {}, "the line is not CSV (its quotes do not match, or a field has no end)")
                continue
            if fields is None:
                return
            fields[:1] = [field.removeprefix("\ufeff") for field in fields[:1]]  # of files that were put together
            if fields and fields[0].strip() == header[0] and [field.strip() for field in fields] == header:
                reading.notes.count_header(file.name)
            elif fields:
                yield FileRow(first, *_keyed(header, fields))


def _lines(text: IO[str], file: Path) -> Iterator[str]:
    """Yield lines; one without an end would be in memory as a whole before any field is looked at."""
    while line := text.readline(_FIELD_LIMIT + 1):
        if len(line) > _FIELD_LIMIT:
            raise DataError(
                f"'{file}' has a line of more than {_FIELD_LIMIT >> 20} Mi characters, so it is no CSV file"
            )
        yield line


def _dialect(file: Path, reading: Reading) -> tuple[Dialect, int]:
    """Return how the file is written, and the lines before its header: Excel takes ``sep=;`` in the first one."""
    with open_utf8(file, reading) as stream:
        head = stream.read(_HEAD)
    cut = len(head) == _HEAD
    if cut:
        head = head[: head.rfind(b"\n") + 1] or head  # a record that is cut off has too few fields
    text = head.decode("utf-8-sig", "surrogateescape")
    stated = _STATED.match(text)
    if stated is not None:
        reading.notes.say(file.name, f"a first line that is no row ({stated[0].strip()!r})")
        text = text[stated.end() :]
    dialect = find_dialect(text, reading.delimiter or (stated[1] if stated else ""), cut=cut)
    for words in dialect.words():
        reading.notes.say(file.name, words)
    return dialect, int(stated is not None)


def _header(records: Any, file: Path) -> list[str]:
    """Return the column names; what the line holds is never shown, for in a file without a header it is a row."""
    try:
        header: list[str] = next(records, [])
    except csv.Error:
        raise DataError(f"'{file}' is not a CSV file: the quotes in its first line do not match") from None
    if not any(header) or not _is_text(header) or "\x00" in "".join(header):
        raise DataError(
            f"'{file}' has no readable header: its first line must name the columns in UTF-8, or in the encoding that "
            "data.encoding names"
        )
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        raise DataError(f"'{file}' has the same name for two columns, or no header line at all")
    return header


def _keyed(header: list[str], fields: list[str]) -> tuple[Mapping[str, Any], str]:
    if len(fields) != len(header):
        return {}, f"the record has {len(fields)} fields and the header {len(header)}"
    if not _is_text(fields):
        return {}, f"the record is {NOT_UTF8} (data.encoding takes the name of another encoding)"
    return dict(zip(header, fields, strict=True)), ""


def _is_text(fields: list[str]) -> bool:
    """Whether every field was decoded; undecodable bytes stand in it as lone surrogates."""
    try:
        "".join(fields).encode()
    except UnicodeEncodeError:
        return False
    return True
