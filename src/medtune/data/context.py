"""Tells which stretches of a question are context, that may be cut, and which are what is asked."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medtune.plugins.contracts import Message

__all__ = ["Stretch", "context_of"]

_ASKS = re.compile(
    r"[#*\s]*(?:questions?|q|task|instructions?|query|statement|claim|options?|choices|answers?|\u95ee\u9898|\u9009\u9879|frage)\b[^:\uff1a\n]{0,30}[:\uff1a]",
    re.IGNORECASE,
)
_GIVES = re.compile(
    r"[#*\s]*(?:context|contexts|abstract|passage|note|text|document|article|background|input|report|\u75c5\u5386|\u4e0a\u4e0b\u6587)\b[^:\uff1a\n]{0,30}[:\uff1a]",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"\s*[(\[]?[A-Ja-j][)\].:\uff0e\u3001]\s*\S")
_NUMBERED = re.compile(r"\s*[(\[]?(?:[1-9]|10)[)\].:\uff0e\u3001]\s*\S")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")
_LONG_LINE = 200  # characters; a shorter line that asks is a question as a whole
_MARKS = ("?", "\uff1f")  # the second as Chinese and Japanese write it


class Stretch(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive) of the message at index ``turn``."""

    turn: int
    start: int
    end: int

    @property
    def length(self) -> int:
        """Characters."""
        return self.end - self.start


class _Piece(NamedTuple):
    start: int
    end: int
    is_asked: bool
    is_blank: bool = False


def context_of(messages: Sequence[Message], *, spare_edges: bool) -> list[Stretch]:
    """Return the stretches of context in the user's turns, the longest first.

    A line that is marked as question, instruction or options, what stands below such a mark up to the next blank line, a
    sentence that ends in a question mark and an option are no context.

    Args:
        messages: a conversation; only user turns are looked at.
        spare_edges: whether the first and the last line of a turn are kept too, where a longer one stands between or
            beside them: an instruction is the first line as a rule, and what is to be answered the last.
    """
    found: list[Stretch] = []
    for turn, message in enumerate(messages):
        if message["role"] == "user":
            pieces = _pieces(message["content"])
            found += _runs(turn, _spared(pieces) if spare_edges else pieces)
    return sorted(found, key=lambda stretch: -stretch.length)


def _pieces(text: str) -> list[_Piece]:
    """Cut a text into lines, long lines where they ask also into sentences."""
    pieces: list[_Piece] = []
    asking, place = False, 0
    asked_before = False
    for line in text.splitlines(keepends=True):
        if not line.strip() or _GIVES.match(line):
            asking = False
        elif _ASKS.match(line):
            asking = asked_before = True
        is_option = bool(_LETTERED.match(line)) or (asked_before and bool(_NUMBERED.match(line)))
        if not line.strip():
            pieces.append(_Piece(place, place + len(line), is_asked=False, is_blank=True))
        elif asking or is_option:
            pieces.append(_Piece(place, place + len(line), is_asked=True))
        else:
            pieces += _sentences(line, place)
            asked_before = asked_before or pieces[-1].is_asked
        place += len(line)
    return pieces


def _sentences(line: str, place: int) -> Iterator[_Piece]:
    """Set the first and the last sentence of a line apart where they ask."""
    if len(line) <= _LONG_LINE:
        yield _Piece(place, place + len(line), is_asked=line.rstrip().endswith(_MARKS))
        return
    ends = [found.end() for found in _SENTENCE_END.finditer(line.rstrip())]
    first = ends[0] if ends and line[: ends[0]].rstrip().endswith(_MARKS) else 0
    last = ends[-1] if ends and line.rstrip().endswith(_MARKS) else len(line)
    for start, end, asks in ((0, first, True), (first, last, False), (max(first, last), len(line), True)):
        if start < end:
            yield _Piece(place + start, place + end, is_asked=asks)


def _spared(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return the pieces, the outermost lines of context taken for asked where another one is longer."""
    kept = list(pieces)
    written = [i for i, piece in enumerate(kept) if not piece.is_blank]
    texts = [i for i in written if not kept[i].is_asked]
    if not texts:
        return kept
    longest = max(kept[i].end - kept[i].start for i in texts)
    for edge in {written[0], written[-1]} & set(texts):
        if kept[edge].end - kept[edge].start < longest:
            kept[edge] = kept[edge]._replace(is_asked=True)
    return kept


def _runs(turn: int, pieces: Sequence[_Piece]) -> Iterator[Stretch]:
    """Yield what stands together without anything asked between."""
    start = end = -1
    for piece in (*pieces, _Piece(-1, -1, is_asked=True)):
        if piece.is_blank:
            continue
        if not piece.is_asked:
            start, end = (piece.start if start < 0 else start), piece.end
        elif start >= 0:
            yield Stretch(turn, start, end)
            start = -1
