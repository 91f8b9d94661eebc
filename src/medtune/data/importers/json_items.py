"""Reads JSON of any outer shape value by value: lines, an array, an array inside an object, an object by ids."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import IO, Any, NamedTuple

from medtune.data.importers.documents import Told
from medtune.data.importers.reading import Input, open_text
from medtune.data.sources.json_text import RepeatedKeys
from medtune.errors import DataError

__all__ = ["Item", "json_items"]

_WRAPPERS = frozenset({"documents", "PubTator3", "data", "examples", "rows", "tasks"})
"""Keys of an object under which its rows stand in an array."""
_CHUNK = 2**18
_MOST = 2**28
"""Characters of one value; a larger one is no document, and memory would not be bounded."""


class Item(NamedTuple):
    """A value, its number from 1 and the key under which it stands, empty in arrays and lines."""

    number: int
    value: Any
    key: str = ""


def json_items(source: Input, told: Told, *, whole: bool = True) -> Iterator[Item]:
    """Yield the values of a JSON file in bounded memory.

    Args:
        source: the file.
        told: learns its encoding.
        whole: whether a later fault is an error, or an end: the first values tell what a file is.

    Raises:
        DataError: the file is not JSON from some value on, goes on behind what it holds, or says a name twice.
    """
    with open_text(source.path, source.encoding, told) as text:
        try:
            yield from _items(text, whole=whole)
        except _NotJsonError as error:
            if not whole and error.number > 1:
                return
            raise DataError(f"'{source.path}' {error.fault or f'is not JSON from value {error.number} on'}") from None


class _NotJsonError(ValueError):
    """The text is not JSON, or not as ``fault`` says; ``number`` is the value at which that shows."""

    def __init__(self, number: int, fault: str = "") -> None:
        self.number, self.fault = number, fault
        super().__init__()


def _items(text: IO[str], *, whole: bool) -> Iterator[Item]:
    cursor = _Cursor(text, whole=whole)
    first = cursor.peek()
    if first == "[":
        number = 0
        while cursor.peek() == "[":  # a line of rows each, perhaps
            cursor.take()
            for item in cursor.elements():
                number += 1
                yield Item(number, item.value)
        if cursor.peek():
            raise _NotJsonError(number + 1)
    elif first == "{":
        yield from _objects(cursor)
    elif first:
        raise _NotJsonError(1)


def _objects(cursor: "_Cursor") -> Iterator[Item]:
    """Yield the lines of JSON Lines, or what one object holds."""
    line = cursor.complete_line()
    if line is None:
        cursor.take()
        yield from _one(cursor.members())
        if cursor.peek():
            raise _NotJsonError(2, "goes on behind its first object; write one array, or an object a line")
    elif not cursor.peek():
        yield from _one(iter(line.items()))
    else:
        yield Item(1, line)
        number = 1
        while cursor.peek():
            number += 1
            yield Item(number, cursor.value(number))


def _one(members: Iterator[tuple[str, Any]]) -> Iterator[Item]:
    """Yield the rows in one object: under a wrapper's key, by ids where its first value is an object, else itself."""
    first = next(members, None)
    if first is None:
        return
    rest: dict[str, Any] = {}
    by_id = isinstance(first[1], dict) and first[0] not in ("infons", "data")
    number, some = 0, by_id
    for key, value in chain([first], members):
        if key in _WRAPPERS and isinstance(value, list | Iterator):
            some = True
            for item in value:
                number += 1
                yield item if isinstance(item, Item) else Item(number, item)
        elif by_id:
            number += 1
            yield Item(number, value, key)
        else:
            rest[key] = value
    if not some:
        yield Item(1, rest)


class _Cursor:
    """A place in a JSON text that is read as it is needed."""

    def __init__(self, text: IO[str], *, whole: bool) -> None:
        self._whole = whole
        self._text, self._buffer, self._position = text, "", 0
        self._repeated = RepeatedKeys()
        self._decoder = json.JSONDecoder(object_pairs_hook=self._repeated)

    def peek(self) -> str:
        """Go to the next character that is not white space and return it, "" at the end."""
        while True:
            while self._position < len(self._buffer):
                if self._buffer[self._position] not in " \t\r\n\ufeff":
                    return self._buffer[self._position]
                self._position += 1
            if not self._more():
                return ""

    def take(self) -> None:
        """Go past the character that ``peek`` returned."""
        self._position += 1
        if self._position > _CHUNK:
            self._buffer, self._position = self._buffer[self._position :], 0

    def value(self, number: int) -> Any:
        """Decode the value here; ``number`` is told where it is none."""
        self.peek()
        while True:
            self._repeated.key = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except RecursionError:
                raise _NotJsonError(number) from None
            except ValueError:
                if len(self._buffer) - self._position > _MOST or not self._more():
                    raise _NotJsonError(number) from None
                continue
            if end < len(self._buffer) or not self._more():  # a number may go on behind the buffer's end
                self._position = end - 1
                self.take()
                self._require_names(number)
                return value

    def elements(self) -> Iterator[Item]:
        """Yield the elements of the array whose bracket was taken."""
        number = 0
        while self.peek() != "]":
            number += 1
            yield Item(number, self.value(number))
            self._comma("]", number)
        self.take()

    def members(self) -> Iterator[tuple[str, Any]]:
        """Yield the members of the object whose brace was taken; an array under a wrapper's key comes as an iterator."""
        number = 0
        keys: set[str] = set()
        while self.peek() != "}":
            number += 1
            key = self.value(number)
            if not isinstance(key, str) or self.peek() != ":":
                raise _NotJsonError(number)
            if key in keys:
                self._repeated.key = key
                self._require_names(number)
            keys.add(key)
            self.take()
            if key in _WRAPPERS and self.peek() == "[":
                self.take()
                yield key, self.elements()
            else:
                yield key, self.value(number)
            self._comma("}", number)
        self.take()

    def complete_line(self) -> dict[str, Any] | None:
        """Return the object that fills the line here, and go past it; None when it is no whole object."""
        while "\n" not in self._buffer[self._position :] and len(self._buffer) < _MOST and self._more():
            pass
        end = self._buffer.find("\n", self._position)
        line = self._buffer[self._position : end if end >= 0 else len(self._buffer)]
        self._repeated.key = None
        try:
            found = json.loads(line, object_pairs_hook=self._repeated)
        except (ValueError, RecursionError):
            return None
        self._position += len(line)
        self._require_names(1)
        return found if isinstance(found, dict) else None

    def _require_names(self, number: int) -> None:
        """Refuse an object that says a name twice: one of the values would be lost."""
        if self._whole and self._repeated.key is not None:
            raise _NotJsonError(number, f"cannot be read: {self._repeated.fault(f'value {number}')}")

    def _comma(self, end: str, number: int) -> None:
        following = self.peek()
        if following == ",":
            self.take()
            if self.peek() == end:
                raise _NotJsonError(number + 1)
        elif following != end:
            raise _NotJsonError(number)

    def _more(self) -> bool:
        more = self._text.read(max(_CHUNK, len(self._buffer) - self._position))  # twice as much: linear time overall
        self._buffer += more
        return bool(more)
