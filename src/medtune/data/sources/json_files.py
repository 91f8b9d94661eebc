"""Reads JSON Lines, JSON arrays, and rows wrapped in a JSON object, one row in memory at a time."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.json_objects import field_advice, rows_of_object
from medtune.data.sources.opening import Continued, open_utf8
from medtune.data.sources.reading import Reading
from medtune.errors import DataError

__all__ = ["JsonText", "read_json", "read_json_lines"]

_ROW_LIMIT = 64 * 2**20
"""Bytes of one row; beyond, the file is no rows of text (a missing line end, say), and memory would not be bounded."""
_CHUNK = 2**18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_JSON, _NOT_AN_OBJECT, _NOT_UTF8 = "not JSON", "JSON, but not an object", "not UTF-8 text"


def read_json_lines(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield line number (from 1), values and fault of each line that is not blank.

    With ``reading.field`` the row of a line is the object at that path of it.
    """
    reading = reading or Reading()
    with open_utf8(file, reading) as stream:
        yield from _from_lines(stream, reading.field)


def _inside(row: FileRow, field: str) -> FileRow:
    value: Any = row.values
    for part in field.split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    if row.fault or isinstance(value, Mapping):
        return row._replace(values=cast("Mapping[str, Any]", value) if not row.fault else {})
    return FileRow(row.number, {}, f"the line holds no object at '{field}' (data.field)")


def _from_lines(stream: IO[bytes], field: str = "") -> Iterator[FileRow]:
    number = 0
    while line := stream.readline(_ROW_LIMIT):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) == _ROW_LIMIT and not line.endswith(b"\n"):
            _skip_line(stream)
            yield FileRow(number, {}, f"the line is longer than {_ROW_LIMIT >> 20} MiB")
        elif not line.isspace():
            row = FileRow(number, *_parsed(line))
            yield _inside(row, field) if field else row


def _parsed(line: bytes) -> tuple[Mapping[str, Any], str]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return {}, f"the line is {_NOT_UTF8}"
    except (ValueError, RecursionError):
        return {}, f"the line is {_NOT_JSON}"
    return (value, "") if isinstance(value, dict) else ({}, f"the line is {_NOT_AN_OBJECT}")


def _skip_line(stream: IO[bytes]) -> None:
    while (rest := stream.readline(_CHUNK)) and not rest.endswith(b"\n"):
        pass


def read_json(file: Path, reading: Reading | None = None) -> Iterator[FileRow]:
    """Yield element number (from 1), values and fault of each row of an array of objects.

    A file of objects line by line is read as such: many are called ``.json``. One object is taken for rows where it
    holds nothing but rows by id, or columns of equally many values, as pandas writes them; ``reading.field`` names the
    place of the rows in any other.

    Raises:
        DataError: it holds no rows, or what follows an element is not JSON.
    """
    reading = reading or Reading()
    with open_utf8(file, reading) as stream:
        head = stream.read(_CHUNK)
        whole = io.BufferedReader(Continued(head, stream), _CHUNK)
        first = head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
        if reading.field and _begins_with_lines(head):
            yield from _from_lines(whole, reading.field)
        elif reading.field or first == b"[":
            text = io.TextIOWrapper(whole, "utf-8-sig", errors="surrogateescape")
            yield from JsonText(file, text).rows(reading.field)
        elif first == b"{":
            yield from _lines_or_object(file, whole, reading)
        elif first:
            raise DataError(f"'{file}' is not JSON: it begins with neither an array nor an object")


def _begins_with_lines(head: bytes) -> bool:
    """Whether a file begins with an object on a line of its own, and goes on with another."""
    line, _end, rest = head.removeprefix(_BYTE_ORDER_MARK).lstrip().partition(b"\n")
    return rest.lstrip()[:1] == b"{" and not _parsed(line)[1]


def _lines_or_object(file: Path, stream: IO[bytes], reading: Reading) -> Iterator[FileRow]:
    """Yield an object per line, or the rows that the only object of the file holds."""
    before = b""
    while (line := stream.readline(_ROW_LIMIT)).isspace():
        before += line
    values, fault = _parsed(line.removeprefix(_BYTE_ORDER_MARK))
    rest = stream.read(_CHUNK)
    if not fault and rest.strip():
        yield from _from_lines(io.BufferedReader(Continued(before + line + rest, stream), _CHUNK))
        return
    on_one_line = not fault
    if fault:
        text = (line + rest + stream.read(_ROW_LIMIT)).removeprefix(_BYTE_ORDER_MARK)
        if len(text) > _ROW_LIMIT:
            raise DataError(f"'{file}' is one large object; say where its rows lie with data.field ('*': its values)")
        values, fault = _parsed(text)
    if fault:
        raise DataError(f"'{file}' holds neither an array of objects nor an object per line")
    rows, how = rows_of_object(values)
    if how:
        reading.notes.say(file.name, how)
    elif not on_one_line:
        raise DataError(f"'{file}' is one object, and its rows lie inside; {field_advice(values)}")
    for number, row in enumerate(rows or [values], start=1):
        yield FileRow(number, row)


class JsonText:
    """Cuts one element after the other out of an array's or object's text.

    Args:
        file: named in errors.
        text: the text.
    """

    def __init__(self, file: Path, text: IO[str]) -> None:
        self._file, self._text = file, text
        self._buffer, self._position, self._ended = "", 0, False
        self._decoder = json.JSONDecoder()

    def rows(self, field: str = "") -> Iterator[FileRow]:
        """Yield number, values and fault of each row: elements of the array, or values of the object, at ``field``.

        Raises:
            DataError: there is no such place, no rows are there, or the text is not JSON.
        """
        for part in field.split(".") if field else ():
            if part == "*":
                break
            self._enter(part, field)
        opening = self._next()
        if opening == "[" and not field.endswith("*"):
            yield from self._elements()
        elif opening == "{" and field:
            for number, _key in enumerate(self._keys(), start=1):
                start = self._position
                value = self._element(number)
                yield FileRow(number, *_checked(value, self._buffer[start : self._position]))
        else:
            raise DataError(f"'{self._file}' holds no rows at '{field}' (data.field)")

    def _enter(self, name: str, field: str) -> None:
        """Go to the value of ``name`` in the object at the position."""
        if self._next() == "{":
            for number, key in enumerate(self._keys(), start=1):
                if key == name:
                    return
                self._element(number)
        raise DataError(f"'{self._file}' has no '{name}' to lead to data.field '{field}'")

    def _keys(self) -> Iterator[str]:
        """Yield the keys of the object at the position; whoever takes one reads its value before the next."""
        self._position += 1  # the opening brace
        number = 0
        while (found := self._next()) not in ("}", ""):
            if found == ",":
                self._position += 1
                self._next()
            number += 1
            key = self._element(number)
            if self._next() != ":" or not isinstance(key, str):
                raise DataError(f"'{self._file}' is not JSON from member {number} on")
            self._position += 1
            self._next()
            yield key
            if self._position > _CHUNK:
                self._buffer, self._position = self._buffer[self._position :], 0
        if not found:
            raise DataError(f"'{self._file}' is not a whole JSON object: it breaks off after member {number}")

    def _elements(self) -> Iterator[FileRow]:
        self._position += 1  # the opening bracket
        number = 0
        if self._next() == "]":
            return
        while True:
            number += 1
            start = self._position
            value = self._element(number)
            yield FileRow(number, *_checked(value, self._buffer[start : self._position]))
            end = self._next()
            if end not in (",", "]"):
                raise DataError(f"'{self._file}' is not a whole JSON array: it breaks off after element {number}")
            self._position += 1
            if end == "]":
                return
            self._next()
            if self._position > _CHUNK:
                self._buffer, self._position = self._buffer[self._position :], 0

    def _element(self, number: int) -> Any:
        """Decode at the position; more text is read for as long as an element may be incomplete."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except (ValueError, RecursionError) as error:
                broken = isinstance(error, RecursionError)
                if broken or len(self._buffer) - self._position > _ROW_LIMIT or not self._read_more():
                    raise DataError(f"'{self._file}' is not JSON from element {number} on") from None
                continue
            if end < len(self._buffer) or not self._read_more():  # a number may go on behind the buffer's end
                self._position = end
                return value

    def _next(self) -> str:
        """Go to the next character that is not white space and return it, "" at the end."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in " \t\r\n":
                    return self._buffer[self._position]
                self._position += 1
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        more = self._text.read(max(_CHUNK, len(self._buffer) - self._position))  # twice as much: linear time overall
        self._buffer += more
        return bool(more)


def _checked(value: Any, text: str) -> tuple[Mapping[str, Any], str]:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return {}, f"the element is {_NOT_UTF8}"
    return (value, "") if isinstance(value, dict) else ({}, f"the element is {_NOT_AN_OBJECT}")
