"""Reads JSON of any outer shape value by value: lines, an array, an array inside an object, an object by ids."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import IO, Any, NamedTuple

from medtune.data.importers.documents import Told
from medtune.data.importers.reading import Input, open_text
from medtune.data.sources.json_cursor import JsonCursor, NotJsonError, RepeatedKeys
from medtune.errors import DataError

__all__ = ["Item", "json_items"]

_WRAPPERS = frozenset({"documents", "PubTator3", "data", "examples", "rows", "tasks"})
"""Keys of an object under which its rows stand in an array."""
_MOST = 2**28
_MOST_OTHERS = 100_000
"""Values in a row that are neither object nor array, such as an archive unpacks to without end."""
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
        except NotJsonError as error:
            if not whole and error.number > 1:
                return
            raise DataError(f"'{source.path}' {error.fault or f'is not JSON from value {error.number} on'}") from None


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
            raise NotJsonError(number + 1)
    elif first == "{":
        yield from _objects(cursor)
    elif first:
        raise NotJsonError(1)


def _objects(cursor: "_Cursor") -> Iterator[Item]:
    """Yield the lines of JSON Lines, or what one object holds."""
    line = cursor.complete_line()
    if line is None:
        cursor.take()
        yield from _one(cursor.members())
        if cursor.peek():
            raise NotJsonError(2, "goes on behind its first object; write one array, or an object a line")
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
    """A place in a JSON text; ``whole``: whether a name that stands twice is refused."""

    def __init__(self, text: IO[str], *, whole: bool) -> None:
        self._at, self._whole = JsonCursor(text, _MOST), whole
        self.peek, self.take = self._at.peek, self._at.take

    def value(self, number: int) -> Any:
        """Decode the value here; ``number`` is told where it is none."""
        value = self._at.value(number)
        self._require_names(number, self._at.repeated)
        return value

    def elements(self) -> Iterator[Item]:
        """Yield the elements of the array whose bracket was taken."""
        number = others = 0
        while self.peek() != "]":
            number += 1
            value = self.value(number)
            others = 0 if isinstance(value, dict | list) else others + 1
            if others > _MOST_OTHERS:
                raise NotJsonError(
                    number, f"holds more than {_MOST_OTHERS:,} values one after the other that are no annotations"
                )
            yield Item(number, value)
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
                raise NotJsonError(number)
            if key in keys:
                self._at.repeated.key = key
                self._require_names(number, self._at.repeated)
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
        line, repeated = self._at.line(), RepeatedKeys()
        try:
            found = json.loads(line, object_pairs_hook=repeated)
        except (ValueError, RecursionError):
            return None
        self._at.skip(len(line))
        self._require_names(1, repeated)
        return found if isinstance(found, dict) else None

    def _require_names(self, number: int, repeated: RepeatedKeys) -> None:
        """Refuse an object that says a name twice: one of the values would be lost."""
        if self._whole and repeated.key is not None:
            raise NotJsonError(number, f"cannot be read: {repeated.fault(f'value {number}')}")

    def _comma(self, end: str, number: int) -> None:
        following = self.peek()
        if following == ",":
            self.take()
            if self.peek() == end:
                raise NotJsonError(number + 1)
        elif following != end:
            raise NotJsonError(number)
