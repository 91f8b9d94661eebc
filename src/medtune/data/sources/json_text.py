"""Cuts one value after the other out of the text of a JSON file, whatever its outer shape."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.file_row import NOT_UTF8, FileRow
from medtune.data.sources.names import is_plain
from medtune.data.sources.reading import SourceNotes
from medtune.errors import DataError

__all__ = ["CHUNK", "NOT_AN_OBJECT", "ROW_LIMIT", "JsonText", "RepeatedKeys"]

ROW_LIMIT = 64 * 2**20
"""Bytes of one row; beyond, the file is no rows of text (a missing line end, say), and memory would not be bounded."""
CHUNK = 2**18
NOT_AN_OBJECT = "JSON, but not an object"


class RepeatedKeys:
    """Takes the members of objects that are decoded, and keeps a name that one has twice: a value would be lost.

    Attributes:
        key: that name, None where every object has each name once.
    """

    def __init__(self) -> None:
        self.key: str | None = None

    def __call__(self, members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object of these members; an ``object_pairs_hook``."""
        members = list(members)
        found = dict(members)
        if len(found) < len(members) and self.key is None:
            self.key = Counter(name for name, _value in members).most_common(1)[0][0]
        return found

    def fault(self, what: str) -> str:
        """Return what is wrong with ``what`` (a line, an element), "" where nothing is; names like text are not shown."""
        if self.key is None:
            return ""
        return f"the {what} says {repr(self.key) if is_plain(self.key) else 'a name that looks like text'} twice"


class JsonText:
    """Cuts one element after the other out of an array's or object's text.

    Args:
        file: named in errors.
        text: the text.
    """

    def __init__(self, file: Path, text: IO[str]) -> None:
        self._file, self._text = file, text
        self._buffer, self._position, self._ended = "", 0, False
        self._repeated = RepeatedKeys()
        self._decoder = json.JSONDecoder(object_pairs_hook=self._repeated)

    def rows(self, field: str = "", notes: SourceNotes | None = None) -> Iterator[FileRow]:
        """Yield number, values and fault of each row: elements of the array, or values of the object, at ``field``.

        Arrays of objects that lie beside them are counted in ``notes``.

        Raises:
            DataError: there is no such place, no rows are there, or the text is not JSON, or goes on behind its value.
        """
        parts = [part for part in field.split(".") if part and part != "*"]
        notes = notes or SourceNotes()
        ways = [self._enter(part, ".".join(parts[:depth]), field, notes) for depth, part in enumerate(parts)]
        opening = self._next()
        if opening == "[" and not field.endswith("*"):
            yield from self._elements()
        elif opening == "{" and field:
            for number, _key in enumerate(self._keys(), start=1):
                start = self._position
                value = self._element(number)
                yield FileRow(number, *self._checked(value, self._buffer[start : self._position]))
        else:
            raise DataError(f"'{self._file}' holds no rows at '{field}' (data.field)")
        for depth in reversed(range(len(ways))):
            for key in ways[depth]:
                self._pass(".".join((*parts[:depth], key)), notes)
        if not self.is_at_end():
            raise DataError(
                f"'{self._file}' goes on behind its first value; write one array, or an object a line, so that nothing "
                "is left out"
            )

    def first(self) -> tuple[FileRow, int]:
        """Return the object that the text begins with, as a row, and over how many lines it goes.

        Raises:
            DataError: it is not a whole object, or too large to be a row.
        """
        self._next()
        start = self._position
        try:
            value = self._element(1)
        except DataError:
            if len(self._buffer) - self._position > ROW_LIMIT:
                raise DataError(
                    f"'{self._file}' is one large object; say where its rows lie with data.field ('*': its values), or "
                    "write an object a line (of a DataFrame: to_json(orient='records', lines=True))"
                ) from None
            raise DataError(f"'{self._file}' holds neither an array of objects nor an object per line") from None
        text = self._buffer[start : self._position]
        return FileRow(1, *self._checked(value, text)), text.count("\n") + 1

    def further(self) -> Iterator[FileRow]:
        """Yield the objects that stand behind the first one, numbered from 2."""
        number = 1
        while self._next():
            number += 1
            start = self._position
            value = self._element(number)
            yield FileRow(number, *self._checked(value, self._buffer[start : self._position]))
            self._forget()

    def arrays(self) -> dict[str, int]:
        """Return the arrays of objects in the object that the text is, with how many they hold.

        Raises:
            DataError: the text is not JSON.
        """
        notes = SourceNotes()
        self._next()
        for key in self._keys():
            self._pass(key, notes)
        return notes.beside

    def is_at_end(self) -> bool:
        """Whether only white space follows."""
        return not self._next()

    def _enter(self, name: str, above: str, field: str, notes: SourceNotes) -> Iterator[str]:
        """Go to the value of ``name`` in the object at the position, and return the keys that follow."""
        if self._next() == "{":
            keys = self._keys()
            for key in keys:
                if key == name:
                    return keys
                self._pass(f"{above}.{key}" if above else key, notes)
        raise DataError(f"'{self._file}' has no '{name}' to lead to data.field '{field}'")

    def _pass(self, path: str, notes: SourceNotes) -> None:
        """Go past the value at the position; objects of an array are counted under its path."""
        if self._next() != "[":
            self._element(1)
            return
        rows = sum(not row.fault for row in self._elements())
        if rows:
            notes.count_beside(path if is_plain(path) else "(a name that looks like text)", rows)

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
            self._forget()
        if not found:
            raise DataError(f"'{self._file}' is not a whole JSON object: it breaks off after member {number}")
        self._position += 1  # the closing brace

    def _elements(self) -> Iterator[FileRow]:
        self._position += 1  # the opening bracket
        number = 0
        if self._next() == "]":
            self._position += 1
            return
        while True:
            number += 1
            start = self._position
            value = self._element(number)
            yield FileRow(number, *self._checked(value, self._buffer[start : self._position]))
            end = self._next()
            if end not in (",", "]"):
                raise DataError(f"'{self._file}' is not a whole JSON array: it breaks off after element {number}")
            self._position += 1
            if end == "]":
                return
            self._next()
            self._forget()

    def _forget(self) -> None:
        """Drop the text that was read."""
        if self._position > CHUNK:
            self._buffer, self._position = self._buffer[self._position :], 0

    def _element(self, number: int) -> Any:
        """Decode at the position; more text is read for as long as an element may be incomplete."""
        while True:
            self._repeated.key = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._position)
            except (ValueError, RecursionError) as error:
                broken = isinstance(error, RecursionError)
                if broken or len(self._buffer) - self._position > ROW_LIMIT or not self._read_more():
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
        more = self._text.read(max(CHUNK, len(self._buffer) - self._position))  # twice as much: linear time overall
        self._buffer += more
        return bool(more)

    def _checked(self, value: Any, text: str) -> tuple[Mapping[str, Any], str]:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return {}, f"the element is {NOT_UTF8}"
        if fault := self._repeated.fault("element"):
            return {}, fault
        if isinstance(value, list):
            return (
                {},
                f"the element is {NOT_AN_OBJECT} (values without names: write DataFrame.to_json(orient='records'))",
            )
        return (value, "") if isinstance(value, dict) else ({}, f"the element is {NOT_AN_OBJECT}")
