"""Cuts a text into sentences and tokens by a simple rule, each with its place in the text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from medtune.data.importers.options import Tokens

__all__ = ["Place", "SpacedWords", "sentences_of", "tokens_of"]


class Place(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive) of a text."""

    start: int
    end: int


_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20ff\ufe00-\ufe0f"
"""Accents and the like, which belong to the letter before them."""
_TOKENS = {
    Tokens.WORDS: re.compile(rf"\d+(?:[.,]\d+)+|(?:[^\W_][{_MARKS}]*)+|\S"),
    Tokens.SPACES: re.compile(r"\S+"),
}
_LINE = re.compile(r"[^\r\n]+")
_END = re.compile(r"[.?!]+[\"'\u2019\u201d)\]]*(\s+)(?=[\"'\u2018\u201c(\[]?[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Z]|[a-z]\.[a-z]|(?i:al|approx|ca|cf|dept|dr|ed|eds|eq|etc|fig|figs|mr|mrs|ms|no|nos|prof|ref|refs"
    r"|resp|sp|spp|st|var|vs|vol))\.$"
)


def tokens_of(text: str, rule: Tokens) -> list[Place]:
    """Return the tokens of a text in order.

    By "words" a number with points or commas is one token, so is a run of letters and digits, and every other visible
    character. By "spaces" a token is what stands between white space.

    >>> [text[a:b] for text in ["IL-2 (0.5 mg)"] for a, b in tokens_of(text, Tokens.WORDS)]
    ['IL', '-', '2', '(', '0.5', 'mg', ')']
    """
    return [Place(*found.span()) for found in _TOKENS[rule].finditer(text)]


def sentences_of(text: str, whole: Iterable[Place] = (), *, by_lines: bool = False) -> list[Place]:
    """Return the sentences of a text in order, white space around them left out.

    A line end ends a sentence. So does, but with ``by_lines``, a point, question or exclamation mark before white space and a
    capital letter or digit, unless an initial or a common abbreviation stands before it. A border inside a place of
    ``whole`` is none.

    >>> [text[a:b] for text in ["Dr. Lee saw him. He left."] for a, b in sentences_of(text)]
    ['Dr. Lee saw him.', 'He left.']
    """
    cuts: list[Place] = []
    for line in _LINE.finditer(text):
        start, end = line.span()
        for gap in () if by_lines else _gaps(text, start, end):
            cuts.append(Place(start, gap.start))
            start = gap.end
        cuts.append(Place(start, end))
    trimmed = (_trimmed(text, place) for place in _joined(cuts, whole))
    return [place for place in trimmed if place.start < place.end]


def _gaps(text: str, start: int, end: int) -> Iterator[Place]:
    """Yield the white space behind marks that end sentences of a line."""
    for mark in _END.finditer(text, start, end):
        if not _ABBREVIATION.search(text, max(start, mark.start() - 12), mark.start() + 1):
            yield Place(*mark.span(1))


class SpacedWords:
    """Finds out whether texts were cut into tokens before: whether their punctuation stands alone.

    Where fewer than one of fifty points, commas, semicolons, colons and brackets is written against a word, it was. Such texts
    often have a sentence a line; marks inside their lines are rare then.
    """

    def __init__(self) -> None:
        self._alone = self._against = 0
        self._lines = self._gaps = 0

    def look_at(self, text: str) -> None:
        """Count the punctuation of a text."""
        for word in text.split():
            if len(word) == 1:
                self._alone += word in ".,;:()"
            elif word[-1] in ".,;:)" or word[0] == "(":
                self._against += not _ENDS_IN_POINT.fullmatch(word)
        for line in _LINE.finditer(text):
            self._lines += 1
            self._gaps += sum(1 for _ in _gaps(text, *line.span()))

    @property
    def has_a_sentence_a_line(self) -> bool:
        """Whether fewer than one of four lines holds a mark that would end a sentence inside it."""
        return 4 * self._gaps < self._lines

    @property
    def tokens(self) -> Tokens:
        """Return how the texts are cut into tokens."""
        return Tokens.SPACES if self._alone and self._against * 50 <= self._alone else Tokens.WORDS


_ENDS_IN_POINT = re.compile(r"[A-Za-z]{1,3}\.|(?:[A-Za-z]\.)+")
"""Words that keep their point when a text is cut into tokens: initials and short abbreviations."""


def _joined(cuts: Sequence[Place], whole: Iterable[Place]) -> list[Place]:
    """Join cuts that a place of ``whole`` reaches over."""
    spans = sorted(whole)
    joined: list[Place] = []
    at, reach = 0, -1
    for cut in cuts:
        if joined and reach > cut.start:
            joined[-1] = Place(joined[-1].start, cut.end)
        else:
            joined.append(cut)
        while at < len(spans) and spans[at].start < cut.end:
            reach = max(reach, spans[at].end)
            at += 1
    return joined


def _trimmed(text: str, place: Place) -> Place:
    piece = text[place.start : place.end]
    start = place.start + len(piece) - len(piece.lstrip())
    return Place(start, max(start, place.start + len(piece.rstrip())))
