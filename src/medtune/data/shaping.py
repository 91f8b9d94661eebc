"""Gives a row the columns that formatters read: those that ``data.columns`` names, with what stands for nothing left out."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from medtune.data.sources.names import LIST_COLUMNS
from medtune.data.sources.reading import SourceNotes
from medtune.specs import SourceSpec

__all__ = ["LIST_ROLES", "METADATA", "Shaper", "text_of"]

METADATA = "metadata"
"""The role of columns that nothing shall read."""
LIST_ROLES = LIST_COLUMNS
"""Roles whose lists stay lists; in any other role a list of texts is joined."""
_KEPT_AS_TEXT = frozenset({"messages", "conversations", "options", "choices", "tokens", "ner_tags", "tools"})
"""Columns whose lists and objects a table may keep as JSON text."""
_NOTHING = frozenset({"nan", "NaN", "<NA>", "<noinput>", "<no input>", "<Noinput>"})
"""Texts that stand for a missing value: what pandas makes of one, and what Alpaca's authors wrote."""
_LONGEST_NOTHING = max(map(len, _NOTHING))


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
        self._document, self._notes = member.document, notes
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

    def document(self, values: Mapping[str, Any]) -> str:
        """Return the document that a row as read belongs to, empty when it names none."""
        if not self._document:
            return ""
        found = reach(values, self._document)
        if found is None:
            return ""
        self.found.add("document")
        return text_of(found)

    def _mapped(self, values: Mapping[str, Any]) -> dict[str, Any]:
        away = self._used | self.metadata
        row = {column: value for column, value in values.items() if column not in away}
        for role, paths in self._taken.items():
            parts = [found for path in paths if (found := reach(values, path)) is not None]
            if parts:
                self.found.add(role)
            row[role] = _joined(parts, role)
        return row

    def _without_nothing(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        changed: dict[str, Any] = {}
        for column, value in row.items():
            if isinstance(value, str):
                if len(value) <= _LONGEST_NOTHING and value.strip() in _NOTHING:
                    changed[column] = None
                    self.missing[column] += 1
                elif column in _KEPT_AS_TEXT and value[:1] in ("[", "{"):
                    changed[column] = _parsed(value)
            elif isinstance(value, float) and value != value:  # noqa: PLR0124 - not a number
                changed[column] = None
                self.missing[column] += 1
        return {**row, **changed} if changed else row

    def _named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        named = {c: _with_names(row[c], names) for c, names in self._names.items() if row.get(c) is not None}
        return {**row, **named}

    def _role_of(self, column: str) -> str:
        return next((role for role, paths in self._taken.items() if paths == (column,)), column)


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


def _parsed(value: str) -> Any:
    """Read a list that a table keeps as JSON text; any other text stays."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_with_names(element, names) for element in cast("Sequence[Any]", value)]
    if isinstance(value, bool):
        return names.get(str(value).lower(), names.get(str(int(value)), value))
    return names.get(text_of(value), value) if isinstance(value, str | int | float) else value
