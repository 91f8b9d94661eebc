"""Compares the tagging scheme that instructions name with the one that the labels beside them are written in."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medtune.evaluation.spans import Label, spans_of
from medtune.evaluation.tag_schemes import as_iob2

__all__ = ["AskedScheme"]

_NAMED = re.compile(
    r"\b(BIOES|IOBES|BILOU|BIOLU|BMEOS|BMESO?|[BI]IO|BIO2?|IOB[12]?|IO(?=[ -](?:tag|scheme|label|format)))\b"
)
_LETTER = re.compile(r"(?<![\w'\u2019.])[BIOESLUM](?![\w'\u2019]|\. ?[a-z])")
"""A prefix by itself, or before a type: no pronoun with its verb (I'm), and no species (E. coli)."""
_ENOUGH = (frozenset("BI"), frozenset("IO"), frozenset("BM"))
"""Letters that make a question one which names a scheme."""
_ROWS = 3
_ORDER = "BIMELSUO"


class _Written(NamedTuple):
    """How the labels of a row are written.

    Attributes:
        prefixes: that it has, in order.
        inside_first: whether an entity begins with I.
        open_ended: whether an entity of several tokens has no label of its own for the last.
        single_begun: whether an entity of one token has no label of its own.
    """

    prefixes: str
    inside_first: bool
    open_ended: bool
    single_begun: bool


class AskedScheme:
    """Takes the questions and labels of one source."""

    def __init__(self) -> None:
        self._asked: frozenset[str] | None = None
        self._rows, self._naming = 0, 0
        self._written: Counter[_Written] = Counter()

    def take(self, question: str, labels: Sequence[Label]) -> None:
        """Look at a row."""
        self._rows += 1
        self._written[_written(labels)] += 1
        named = frozenset(letter for name in _NAMED.findall(question) for letter in name if letter in _ORDER)
        named |= frozenset(_LETTER.findall(question))
        if any(enough <= named for enough in _ENOUGH):
            self._naming += 1  # what all name is the instruction; a letter in some is of their text
            self._asked = named if self._asked is None else self._asked & named

    def told(self) -> tuple[int, int, str] | None:
        """Return rows whose labels are not those that are asked for, rows in all, and what is wrong; None for none."""
        asked = self._asked or frozenset[str]()
        if self._naming < max(_ROWS, self._rows / 2) or not any(enough <= asked for enough in _ENOUGH):
            return None
        faults: Counter[str] = Counter()
        rows = 0
        for written, times in self._written.items():
            found = list(_faults(asked, written))
            rows += times * bool(found)
            faults.update(dict.fromkeys(found, times))
        if not rows:
            return None
        return rows, self._rows, f"{_listed(asked)} are asked for, and {faults.most_common(1)[0][0]}"


def _written(labels: Sequence[Label]) -> _Written:
    spans = spans_of(as_iob2(labels), strict=False)
    ends = [(labels[s.start].prefix, labels[s.end - 1].prefix, s.end - s.start) for s in spans]
    return _Written(
        "".join(prefix for prefix in _ORDER if any(label.prefix == prefix for label in labels)),
        any(first == "I" for first, _last, _length in ends),
        any(last not in "EL" for _first, last, length in ends if length > 1),
        any(first not in "SU" for first, _last, length in ends if length == 1),
    )


def _faults(asked: frozenset[str], written: _Written) -> Iterator[str]:
    if others := [prefix for prefix in written.prefixes if prefix not in asked and prefix != "O"]:
        yield f"{_listed(others)} stand there"
    if "B" in asked and written.inside_first:
        yield "entities begin with I"
    if asked & set("EL") and written.open_ended:
        yield f"entities do not end with {_listed(asked & set('EL'))}"
    if asked & set("SU") and written.single_begun:
        yield f"entities of one token have no {_listed(asked & set('SU'))}"


def _listed(prefixes: frozenset[str] | list[str]) -> str:
    return ", ".join(sorted(prefixes, key=_ORDER.index))
