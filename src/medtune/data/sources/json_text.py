"""Cuts one value after the other out of the text of a JSON file, whatever its outer shape."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from medtune.data.sources.file_row import NOT_UTF8, FileRow
from medtune.data.sources.json_cursor import JsonCursor, NotJsonError
from medtune.data.sources.names import is_plain
from medtune.data.sources.reading import SourceNotes
from medtune.errors import DataError

__all__ = ["NOT_AN_OBJECT", "ROW_LIMIT", "JsonText"]

ROW_LIMIT = 16 * 2**20
"""Bytes of one row, whose values may take thirty times as much memory; beyond, the file is no rows of text (a missing line end,
say). A million tokens are a third of it."""
NOT_AN_OBJECT = "JSON, but not an object"


class JsonText:
    """Cuts one element after the other out of an array's or object's text.

    Args:
        file: named in errors.
        text: the text.
    """

    def __init__(self, file: Path, text: IO[str]) -> None:
        self._file, self._at = file, JsonCursor(text, ROW_LIMIT)

    def rows(self, field: str = "", notes: SourceNotes | None = None) -> Iterator[FileRow]:
        """Yield number, values and fault of each row: elements of the array, or values of the object, at ``field``.

        Arrays of objects that lie beside them are counted in ``notes``.

        Raises:
            DataError: there is no such place, no rows are there, or the text is not JSON, or goes on behind its value.
        """
        parts = [part for part in field.split(".") if part and part != "*"]
        notes = notes or SourceNotes()
        ways = [self._enter(part, ".".join(parts[:depth]), field, notes) for depth, part in enumerate(parts)]
        opening = self._at.peek()
        if opening == "[" and not field.endswith("*"):
            yield from self._elements()
        elif opening == "{" and field:
            for number, _key in enumerate(self._keys(), start=1):
                yield self._row(number)
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
        try:
            value = self._at.value(1)
        except NotJsonError as error:
            if error.too_large:
                raise DataError(
                    f"'{self._file}' is one large object; say where its rows lie with data.field ('*': its values), or "
                    "write an object a line (of a DataFrame: to_json(orient='records', lines=True))"
                ) from None
            raise DataError(f"'{self._file}' holds neither an array of objects nor an object per line") from None
        text = self._at.raw
        return FileRow(1, *self._checked(value, text)), text.count("\n") + 1

    def further(self) -> Iterator[FileRow]:
        """Yield the objects that stand behind the first one, numbered from 2."""
        number = 1
        while self._at.peek():
            number += 1
            yield self._row(number)

    def arrays(self) -> dict[str, int]:
        """Return the arrays of objects in the object that the text is, with how many they hold.

        Raises:
            DataError: the text is not JSON.
        """
        notes = SourceNotes()
        self._at.peek()
        for key in self._keys():
            self._pass(key, notes)
        return notes.beside

    def is_at_end(self) -> bool:
        """Whether only white space follows."""
        return not self._at.peek()

    def _enter(self, name: str, above: str, field: str, notes: SourceNotes) -> Iterator[str]:
        """Go to the value of ``name`` in the object at the position, and return the keys that follow."""
        if self._at.peek() == "{":
            keys = self._keys()
            for key in keys:
                if key == name:
                    return keys
                self._pass(f"{above}.{key}" if above else key, notes)
        raise DataError(f"'{self._file}' has no '{name}' to lead to data.field '{field}'")

    def _pass(self, path: str, notes: SourceNotes) -> None:
        """Go past the value at the position; objects of an array are counted under its path."""
        if self._at.peek() != "[":
            self._element(1)
            return
        rows = sum(not row.fault for row in self._elements())
        if rows:
            notes.count_beside(path if is_plain(path) else "(a name that looks like text)", rows)

    def _keys(self) -> Iterator[str]:
        """Yield the keys of the object at the position; whoever takes one reads its value before the next."""
        self._at.take()  # the opening brace
        number = 0
        while (found := self._at.peek()) not in ("}", ""):
            if found == ",":
                self._at.take()
                self._at.peek()
            number += 1
            key = self._element(number)
            if self._at.peek() != ":" or not isinstance(key, str):
                raise DataError(f"'{self._file}' is not JSON from member {number} on")
            self._at.take()
            self._at.peek()
            yield key
        if not found:
            raise DataError(f"'{self._file}' is not a whole JSON object: it breaks off after member {number}")
        self._at.take()  # the closing brace

    def _elements(self) -> Iterator[FileRow]:
        self._at.take()  # the opening bracket
        number = 0
        if self._at.peek() == "]":
            self._at.take()
            return
        while True:
            number += 1
            yield self._row(number)
            end = self._at.peek()
            if end not in (",", "]"):
                raise DataError(f"'{self._file}' is not a whole JSON array: it breaks off after element {number}")
            self._at.take()
            if end == "]":
                return
            self._at.peek()

    def _row(self, number: int) -> FileRow:
        """Decode the row at the position."""
        value = self._element(number)
        return FileRow(number, *self._checked(value, self._at.raw))

    def _element(self, number: int) -> Any:
        """Decode at the position."""
        try:
            return self._at.value(number)
        except NotJsonError:
            raise DataError(f"'{self._file}' is not JSON from element {number} on") from None

    def _checked(self, value: Any, text: str) -> tuple[Mapping[str, Any], str]:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return {}, f"the element is {NOT_UTF8}"
        if fault := self._at.repeated.fault("element"):
            return {}, fault
        if isinstance(value, list):
            return (
                {},
                f"the element is {NOT_AN_OBJECT} (values without names: write DataFrame.to_json(orient='records'))",
            )
        return (value, "") if isinstance(value, dict) else ({}, f"the element is {NOT_AN_OBJECT}")
