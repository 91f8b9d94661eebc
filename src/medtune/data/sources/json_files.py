"""Reads JSON Lines, JSON arrays, and rows wrapped in a JSON object, one row in memory at a time."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from medtune.data.sources.file_row import NOT_UTF8, FileRow
from medtune.data.sources.json_cursor import CHUNK, RepeatedKeys
from medtune.data.sources.json_objects import field_advice, rows_of_object, unequal_columns
from medtune.data.sources.json_text import NOT_AN_OBJECT, ROW_LIMIT, TOO_DEEP, JsonText
from medtune.data.sources.opening import Continued, lines_of, open_utf8
from medtune.data.sources.reading import Reading
from medtune.errors import DataError
from medtune.specs.bounded import is_too_deep

__all__ = ["arrays_in", "read_json", "read_json_lines"]

_ROW_LIMIT = ROW_LIMIT
_MOST_BLANK = 1_000_000
"""Blank lines in a row, such as an archive of nothing but ends of lines unpacks to."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield line number (from 1), values and fault of each line that is not blank.

    A file that holds an array, or objects over several lines, is read as ``read_json`` does, whatever it is called. With
    ``reading.field`` the row of a line is the object at that path of it.

    Raises:
        DataError: as ``read_json``, where it holds no lines.
    """
    reading = reading or Reading()
    with open_utf8(file, reading) as stream:
        head = stream.read(CHUNK)
        whole = io.BufferedReader(Continued(head, stream), CHUNK)
        if _is_of_lines(head) and not _is_one_with_array(head, reading.field):
            yield from _from_lines(whole, reading)
        else:
            yield from _from_json(file, head, whole, reading)


def _is_of_lines(head: bytes) -> bool:
    """Whether a file begins with an object on a line of its own, or with no JSON at all: one bad line is no other format."""
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    line = text.partition(b"\n")[0]
    if not _decoded(line)[1] or text[:1] not in (b"{", b"["):
        return True
    try:
        json.JSONDecoder().raw_decode(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return line.strip() not in (b"{", b"[")  # a large one, whose end is not in sight
    return False


def _is_one_with_array(head: bytes, field: str) -> bool:
    """Whether the only line holds an array at ``field``, so that it is the whole file and no row."""
    if not field or _begins_with_lines(head):
        return False
    value: Any = _decoded(head.removeprefix(_BYTE_ORDER_MARK).strip())[0]
    for part in field.split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    return isinstance(value, list)


def _inside(row: FileRow, reading: Reading) -> FileRow:
    value: Any = row.values
    walked = ""
    for part in reading.field.split("."):
        if isinstance(value, Mapping):
            held = cast("Mapping[str, Any]", value)
            for key, other in held.items():
                if key != part and isinstance(other, str | list | dict) and other:
                    reading.notes.count_beside(f"{walked}{key}")
            value = held.get(part)
        else:
            value = None
        walked += f"{part}."
    if row.fault or isinstance(value, Mapping):
        return row._replace(values=cast("Mapping[str, Any]", value) if not row.fault else {})
    return FileRow(row.number, {}, f"the line holds no object at '{reading.field}' (data.field)")


def _from_lines(stream: IO[bytes], reading: Reading) -> Iterator[FileRow]:
    blank = 0
    for number, given in enumerate(lines_of(stream, _ROW_LIMIT), start=1):
        line = given.removeprefix(_BYTE_ORDER_MARK)  # files that were put together have one at each beginning
        if len(given) == _ROW_LIMIT and not given.endswith(b"\n"):
            yield FileRow(number, {}, f"the line is longer than {_ROW_LIMIT >> 20} MiB")
        elif not line.isspace():
            blank = 0
            row = FileRow(number, *_parsed(line))
            yield _inside(row, reading) if reading.field else row
        else:
            blank += 1
            if blank > _MOST_BLANK:
                raise DataError(f"a file of rows holds more than {_MOST_BLANK:,} blank lines one after the other")


def _parsed(line: bytes) -> tuple[Mapping[str, Any], str]:
    repeated = RepeatedKeys()
    values, fault = _decoded(line, repeated)
    fault = fault or repeated.fault("line")
    return ({}, fault) if fault else (values, "")


def _decoded(line: bytes, hook: RepeatedKeys | None = None) -> tuple[Mapping[str, Any], str]:
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=hook)
    except UnicodeDecodeError:
        return {}, f"the line is {NOT_UTF8}"
    except (ValueError, RecursionError):
        return {}, "the line is not JSON"
    if is_too_deep(value, line):
        return {}, f"the line is {TOO_DEEP}"
    return (value, "") if isinstance(value, dict) else ({}, f"the line is {NOT_AN_OBJECT}")


def read_json(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield element number (from 1), values and fault of each row of an array of objects, or of objects in a row.

    A file of objects line by line is read as such: many are called ``.json``. One object is taken for rows where it
    holds nothing but rows by id, or columns of equally many values, as pandas writes them; ``reading.field`` names the
    place of the rows in any other.

    Raises:
        DataError: it holds no rows, or what follows an element is not JSON.
    """
    reading = reading or Reading()
    with open_utf8(file, reading) as stream:
        head = stream.read(CHUNK)
        yield from _from_json(file, head, io.BufferedReader(Continued(head, stream), CHUNK), reading)


def _from_json(file: Path, head: bytes, whole: IO[bytes], reading: Reading) -> Iterator[FileRow]:
    first = head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
    if first not in (b"[", b"{", b""):
        raise DataError(f"'{file}' is not JSON: it begins with neither an array nor an object")
    if first and _begins_with_lines(head):
        yield from _from_lines(whole, reading)
    elif first:
        text = JsonText(file, io.TextIOWrapper(whole, "utf-8-sig", errors="surrogateescape"))
        if reading.field or first == b"[":
            yield from text.rows(reading.field, reading.notes)
        else:
            yield from _objects(file, text, reading)


def _begins_with_lines(head: bytes) -> bool:
    """Whether a file begins with an object on a line of its own, and goes on behind it."""
    line, _end, rest = head.removeprefix(_BYTE_ORDER_MARK).lstrip().partition(b"\n")
    return bool(rest.strip()) and not _decoded(line)[1]


def _objects(file: Path, text: JsonText, reading: Reading) -> Iterator[FileRow]:
    """Yield the objects that stand one after the other, or the rows that the only object of the file holds."""
    first, lines = text.first()
    if not text.is_at_end():
        reading.notes.say(file.name, "objects one after the other, not one a line")
        yield first
        yield from text.further()
        return
    rows, how = rows_of_object(first.values)
    if how:
        reading.notes.say(file.name, how)
    elif columns := unequal_columns(first.values):
        raise DataError(
            f"'{file}' is one object with the arrays {columns}: as columns they have to be of one length, with nothing beside "
            "them; write an array of objects, and one row in an array as well"
        )
    elif lines > 1 and not first.fault:
        raise DataError(f"'{file}' is one object, and its rows lie inside; {field_advice(first.values)}")
    else:
        yield first
    for number, row in enumerate(rows, start=1):
        yield FileRow(number, row)


def arrays_in(file: Path, reading: Reading) -> dict[str, int]:
    """Return the arrays of objects that lie in the object that a JSON file is, with how many; none for any other file.

    Raises:
        DataError: it is not JSON.
    """
    with open_utf8(file, reading) as stream:
        head = stream.read(CHUNK)
        whole = io.BufferedReader(Continued(head, stream), CHUNK)
        if head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] != b"{" or _begins_with_lines(head):
            return {}
        return JsonText(file, io.TextIOWrapper(whole, "utf-8-sig", errors="surrogateescape")).arrays()
