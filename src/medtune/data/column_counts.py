"""Counts what stands in one column, and tells text from labels, identifiers and numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

__all__ = ["ColumnCounts", "is_document_name", "texts_of"]

_LABEL_CHARACTERS, _LABEL_WORDS, _MOST_LABELS = 40, 3, 50
"""A label is short, of few words, and one of few."""
_IDENTIFIER_CHARACTERS = 200
_SHORT_WORD = 12
"""Characters up to which a word of a script without spaces is taken for a name, not for a sentence."""
_TRACKED = 200_000
"""Different values that are counted of a column that nobody reads."""
_NAMES_DOCUMENT = re.compile(
    r"(pat(ient)?|subject|person|case|note|doc(ument)?|report|encounter|visit|stay|hadm|admission|abstract|article|"
    r"pm(c)?|pub(med)?|mrn|study|exam)s?[_\s.-]?(id|no|nr|number|key|uid|pid|identifier)?|(pm|pmc|pub)id|mrn|fall(nummer)?",
    re.IGNORECASE,
)
_MOST_ROWS_PER_DOCUMENT = 1000


def is_document_name(column: str) -> bool:
    """Whether columns that name a patient, note or document are called so; a hint, which values must bear out."""
    return _NAMES_DOCUMENT.fullmatch(column.strip()) is not None


class ColumnCounts:
    """What stands in one column, or at one path inside it.

    Attributes:
        rows: rows in which something stands.
        characters: of its text.
        unread: characters of the text that stands in no example.
    """

    __slots__ = (
        "_hashes",
        "_identifiers",
        "_labels",
        "_longest",
        "_spelled",
        "_words",
        "characters",
        "rows",
        "texts",
        "unread",
    )

    def __init__(self) -> None:
        self.rows = self.characters = self.unread = self.texts = 0
        self._hashes: set[int] = set()
        self._labels: set[str] = set()
        self._identifiers, self._longest, self._words, self._spelled = True, 0, 0, 0

    def see_unread(self, value: str) -> None:
        """Count a text that stands in no example."""
        self.unread += len(value)
        self.texts += 1
        self.see_value(value)
        self._longest = max(self._longest, len(value))
        if self._longest <= _LABEL_CHARACTERS:
            self._words = max(self._words, len(value.split()))
            if len(self._labels) <= _MOST_LABELS:
                self._labels.add(value)
        self._identifiers = self._identifiers and _is_identifier(value)
        self._spelled += value.isalpha()

    def see_value(self, value: Any) -> None:
        """Count a value that nobody reads, to find those that repeat."""
        if len(self._hashes) < _TRACKED:
            self._hashes.add(hash(value))

    @property
    def kind(self) -> str:
        """What nobody reads of it: "nothing", "text", "label" or "identifier"."""
        if not self.unread:
            return "nothing"
        if self._identifiers and self._spelled * 2 <= self.texts:  # codes are seldom spelled with letters alone
            return "identifier"
        few = len(self._labels) <= min(_MOST_LABELS, self.texts // 2)
        short = self._longest <= _LABEL_CHARACTERS and self._words <= _LABEL_WORDS
        return "label" if few and short else "text"

    def names_documents(self, column: str, of_rows: int) -> bool:
        """Whether its name is that of a patient, note or document, and its values repeat as those would."""
        values = len(self._hashes)
        repeats = 1 < values < _TRACKED and values * 1.1 <= of_rows <= values * _MOST_ROWS_PER_DOCUMENT
        return repeats and self.kind in ("nothing", "identifier") and is_document_name(column)

    @property
    def values(self) -> int:
        """Different values among those that nobody reads."""
        return len(self._hashes)


def texts_of(value: Any) -> Iterator[str]:
    """Yield the texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[str, Any]", value).values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in cast("Sequence[Any]", value):
            yield from texts_of(inner)


def _is_identifier(value: str) -> bool:
    """Whether a value is a code, an address, a date or a number rather than words."""
    if not any(c.isalpha() for c in value):
        return True
    if any(c.isspace() for c in value.strip()) or len(value) > _IDENTIFIER_CHARACTERS:
        return False
    return value.isascii() or len(value) <= _SHORT_WORD
