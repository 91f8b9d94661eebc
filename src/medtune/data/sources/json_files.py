"""Reads JSON Lines and JSON arrays, one row in memory at a time."""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.file_row import FileRow
from medtune.data.sources.opening import open_bytes
from medtune.errors import DataError

__all__ = ["read_json", "read_json_lines"]

_ROW_LIMIT = 64 * 2**20
"""Bytes of one row; beyond, the file is no rows of text (a missing line end, say), and memory would not be bounded."""
_CHUNK = 2**18
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NOT_JSON, _NOT_AN_OBJECT, _NOT_UTF8 = "not JSON", "JSON, but not an object", "not UTF-8 text"


def read_json_lines(file: Path) -> Iterator[FileRow]:
    """Yield line number (from 1), values and fault of each line that is not blank."""
    with open_bytes(file) as stream:
        yield from _from_lines(stream)


def _from_lines(stream: IO[bytes]) -> Iterator[FileRow]:
    number = 0
    while line := stream.readline(_ROW_LIMIT):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if len(line) == _ROW_LIMIT and not line.endswith(b"\n"):
            _skip_line(stream)
            yield FileRow(number, {}, f"the line is longer than {_ROW_LIMIT >> 20} MiB")
        elif not line.isspace():
            yield FileRow(number, *_parsed(line))


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


def read_json(file: Path) -> Iterator[FileRow]:
    """Yield element number (from 1), values and fault of each element of an array of objects.

    A file of objects line by line is read as such: many are called ``.json``.

    Raises:
        DataError: it holds neither, or what follows an element is not JSON.
    """
    with open_bytes(file) as stream:
        head = stream.read(_CHUNK)
        whole = io.BufferedReader(_Continued(head, stream), _CHUNK)
        first = head.removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
        if first == b"[":
            yield from _Array(file, io.TextIOWrapper(whole, "utf-8-sig", errors="surrogateescape")).elements()
        elif first == b"{":
            yield from _lines_or_refusal(file, whole)
        elif first:
            raise DataError(f"'{file}' is not JSON: it begins with neither an array nor an object")


def _lines_or_refusal(file: Path, stream: IO[bytes]) -> Iterator[FileRow]:
    some = False
    for row in _from_lines(stream):
        if row.fault and not some:
            raise DataError(f"'{file}' holds neither an array of objects nor an object per line")
        some = True
        yield row


class _Array:
    """Cuts one element after the other out of an array's text."""

    def __init__(self, file: Path, text: IO[str]) -> None:
        self._file, self._text = file, text
        self._buffer, self._position, self._ended = "", 0, False
        self._decoder = json.JSONDecoder()

    def elements(self) -> Iterator[FileRow]:
        """Yield number, values and fault of each element."""
        self._next()
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


class _Continued(io.RawIOBase):
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
