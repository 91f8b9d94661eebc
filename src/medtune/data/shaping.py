"""Gives a row the columns that formatters read: those that ``data.columns`` names, with what stands for nothing left out."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters import MalformedRowError
from medtune.data.refused_numbers import number_of
from medtune.data.sources.names import LIST_COLUMNS, is_plain
from medtune.data.sources.reading import SourceNotes
from medtune.specs import SourceSpec
from medtune.specs.bounded import is_too_deep

__all__ = [
    "LIST_ROLES",
    "METADATA",
    "Shaper",
    "document_name",
    "json_columns",
    "parsed_text",
    "stands_for_nothing",
    "text_of",
]

METADATA = "metadata"
"""The role of columns that nothing shall read."""
LIST_ROLES = LIST_COLUMNS
"""Roles whose lists stay lists; in any other role a list of texts is joined."""
_OPTIONS = frozenset({"options", "choices"})
_KEPT_AS_TEXT = frozenset({"messages", "conversations", "options", "choices", "tokens", "ner_tags", "tools"})
"""Columns whose lists and objects a table may keep as JSON text."""
_NOTHING = frozenset({"nan", "NaN", "<NA>", "<noinput>", "<no input>", "<Noinput>"})
"""Texts that stand for a missing value: what pandas makes of one, and what Alpaca's authors wrote."""
_SPREADSHEET_ERROR = re.compile(r"#[¡¿]?[A-ZÀ-Ý][A-ZÀ-Ý0-9/]*[!?]|#N/?[ADV]|#GETTING_DATA")
"""``#REF!``, ``#DIV/0!`` and the like, in the language of whoever saved the file."""
_LONGEST_NOTHING = 16
_NO_IDENTIFIER = frozenset({"", "none", "null", "na", "n/a", "-"})
_WHOLE_FLOAT = re.compile(r"(-?\d+)\.0+")


class Shaper:
    """Shapes the rows of one source.

    Args:
        member: its ``columns``, ``labels`` and ``document``.
        notes: names of labels that the source brings along.

    Attributes:
        missing: column -> values that were taken for nothing.
        found: roles that some row had.
    """

    def __init__(self, member: SourceSpec, notes: SourceNotes) -> None:
        self._taken = {role: paths for role, paths in member.columns.items() if role != METADATA}
        self.metadata = frozenset(member.columns.get(METADATA, ()))
        self._used = {path for paths in self._taken.values() for path in paths} - self._taken.keys()
        self._documents, self._notes = member.documents, notes
        self._names: dict[str, Mapping[str, str]] = {}
        for column, names in member.labels.items():
            self._names[self._role_of(column)] = names
        self.missing: Counter[str] = Counter()
        self.found: set[str] = set()

    def shape(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the row as formatters get it; the same object where nothing has to change."""
        row = values
        if self._taken or self.metadata:
            row = self._mapped(values)
        row = self._without_nothing(row)
        return self._named(row) if self._names else row

    def with_labels(self, row: Mapping[str, Any], columns: Iterable[str]) -> Mapping[str, Any]:
        """Return the row with the numbers in these columns as the names that the source brings along, if it does."""
        if not self._notes.labels:
            return row
        named: dict[str, Any] = {}
        for column in columns:
            paths = self._taken.get(column, (column,))
            names = self._notes.labels.get(paths[0]) if len(paths) == 1 and column not in self._names else None
            if names and row.get(column) is not None:
                named[column] = _with_names(row[column], {str(n): name for n, name in enumerate(names)})
        return {**row, **named} if named else row

    def with_texts(self, row: Mapping[str, Any], columns: Iterable[str]) -> Mapping[str, Any]:
        """Return the row with numbers in these columns as text, as a table that has text only would give them.

        In a column of labels with names, a number without one stays a number, in text too: formatters refuse it.
        """
        changed: dict[str, Any] = {}
        for column in columns:
            value = row.get(column)
            if self._has_names(column):
                given = self._names.get(column, {}).values()
                if isinstance(value, str) and value not in given and (number := number_of(value)) is not None:
                    changed[column] = number
            elif isinstance(value, int | float):
                changed[column] = text_of(value)
        return {**row, **changed} if changed else row

    def _has_names(self, column: str) -> bool:
        paths = self._taken.get(column, (column,))
        return column in self._names or (len(paths) == 1 and paths[0] in self._notes.labels)

    def document(self, values: Mapping[str, Any], source: str | None = None) -> str:
        """Return the document that a row as read belongs to, empty when it names none.

        One document may be written in several ways: with spaces around, in capitals, and, by a table with gaps, as 1001.0.

        Args:
            values: of the row.
            source: whose row it is; None where that is not known yet.

        Raises:
            MalformedRowError: the row names none where the others of its source do.
        """
        column = self._documents.get("*" if source is None else source, self._documents.get("*", ""))
        if not column:
            return ""
        found = reach(values, column)
        if found is not None:
            self.found.add("document")
        name = document_name(found)
        if not name and source is not None:
            raise _without_document(column)
        return name

    def _mapped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        away = self._used | self.metadata
        row = {column: value for column, value in values.items() if column not in away}
        for role, paths in self._taken.items():
            parts = [reach(values, path) for path in paths]
            if any(part is not None for part in parts):
                self.found.add(role)
            if len(parts) > 1:
                parts = [self._something(role, part) for part in parts]
            row[role] = _in_order(parts) if role in _OPTIONS and len(parts) > 1 else _joined(parts, role)
        return row

    def _something(self, column: str, value: Any) -> Any:
        """Return a value, None in the place of one that stands for nothing, which is counted."""
        if stands_for_nothing(value):
            self.missing[column] += 1
            return None
        return value

    def _without_nothing(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        changed: dict[str, Any] = {}
        for column, value in row.items():
            if stands_for_nothing(value):
                changed[column] = self._something(column, value)
            elif column in _KEPT_AS_TEXT and isinstance(value, str) and (parsed := parsed_text(value)) is not value:
                changed[column] = parsed
        return {**row, **changed} if changed else row

    def mark_in(self, values: Mapping[str, Any], column: str) -> str:
        """Return the text of a row as read that stands for nothing in the place of a formatter's column, "" for none."""
        found = (reach(values, path) for path in self._taken.get(column, (column,)))
        return next((text.strip() for text in found if isinstance(text, str) and stands_for_nothing(text)), "")

    def _named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        named = {c: _with_names(row[c], names) for c, names in self._names.items() if row.get(c) is not None}
        return {**row, **named}

    def _role_of(self, column: str) -> str:
        return next((role for role, paths in self._taken.items() if paths == (column,)), column)


def stands_for_nothing(value: Any) -> bool:
    """Whether a value is what tables write where there is none: not a number, ``nan``, or the error of a spreadsheet."""
    if isinstance(value, str):
        if len(value) > _LONGEST_NOTHING:
            return False
        text = value.strip()
        return text in _NOTHING or (text[:1] == "#" and _SPREADSHEET_ERROR.fullmatch(text) is not None)
    return isinstance(value, float) and value != value  # noqa: PLR0124 - not a number


def reach(values: Any, path: str) -> Any:
    """Return the value at a dotted path: a column of that very name, else step by step; None where there is none.

    A number is a position in a list; any other step is taken in every element of one.
    """
    if isinstance(values, Mapping):
        values = cast("Mapping[str, Any]", values)
        if path in values:
            return values[path]
        head, dot, rest = path.partition(".")
        return reach(values[head], rest) if dot and head in values else None
    if isinstance(values, list):
        elements = cast("Sequence[Any]", values)
        head, _dot, rest = path.partition(".")
        if head.isdecimal():
            at = elements[int(head)] if int(head) < len(elements) else None
            return reach(at, rest) if rest else at
        found = [part for element in elements if (part := reach(element, path)) is not None]
        return found or None
    return None


def text_of(value: Any) -> str:
    """Return the text of a name or number; a whole float is how tables with gaps keep a number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else str(value)


def _in_order(parts: Sequence[Any]) -> Any:
    """Return options of columns of their own in a list; none behind the last, and a gap stays: letters count places."""
    filled = [at for at, part in enumerate(parts, start=1) if part is not None and part != ""]
    return list(parts[: filled[-1]]) if filled else None


def _joined(parts: Sequence[Any], role: str) -> Any:
    if role in LIST_ROLES and len(parts) == 1:
        return parts[0]
    flat = [leaf for part in parts for leaf in _leaves(part)]
    if len(flat) == 1:
        return flat[0]
    if not flat:
        return None
    if role in LIST_ROLES:
        return flat
    if all(isinstance(leaf, str | int | float) for leaf in flat):
        return "\n\n".join(text for leaf in flat if (text := text_of(leaf).strip()))
    return flat


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for part in cast("Sequence[Any]", value) for leaf in _leaves(part)]
    return [] if value is None else [value]


def json_columns(columns: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the columns whose JSON text is parsed before it is trained on; ``columns`` is role -> columns."""
    return _KEPT_AS_TEXT | {path for role in _KEPT_AS_TEXT for path in columns.get(role, ())}


def parsed_text(value: str) -> Any:
    """Return the list or object that a table keeps as JSON text; any other text stays, as the same object."""
    if value[:1] not in ("[", "{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list | dict) and not is_too_deep(found, value) else value


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_names(element, names) for element in cast("Sequence[Any]", value)]
    if isinstance(value, bool):
        return names.get(str(value).lower(), names.get(str(int(value)), value))
    if not isinstance(value, str | int | float):
        return value
    text = text_of(value)
    whole = _WHOLE_FLOAT.fullmatch(text.strip())  # how tables with gaps write a number
    return names.get(text, names.get(whole[1], value) if whole else value)


def document_name(found: Any) -> str:
    """Return the name of a document as one text however it is written, empty for what names none.

    >>> document_name(1001.0) == document_name("1001") == document_name(" 1001.0 ")
    True
    """
    if found is None or stands_for_nothing(found):
        return ""
    name = " ".join(unicodedata.normalize("NFKC", text_of(found)).casefold().split())
    whole = _WHOLE_FLOAT.fullmatch(name)
    return "" if name in _NO_IDENTIFIER else whole[1] if whole else name


def _without_document(name: str) -> MalformedRowError:
    column = repr(name) if is_plain(name) else "that data.document names"
    return MalformedRowError(
        f"column {column} (data.document) is blank, so the row may be of a document that stands on the other side of the "
        "split; fill it in (tables often have it on the first row of a group only, in a merged cell), or leave such rows out"
    )
