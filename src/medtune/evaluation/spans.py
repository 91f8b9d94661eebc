"""Reads entity spans out of B, I, O labels, strictly or leniently."""

import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["OUTSIDE", "Label", "Span", "overlapping_pairs", "read_label", "spans_of"]

_PREFIX_FIRST = re.compile(r"([BI])(?:[-_](.+))?", re.IGNORECASE | re.DOTALL)
_PREFIX_LAST = re.compile(r"(.+)[-_]([BI])", re.IGNORECASE | re.DOTALL)
_OTHER_PREFIX = re.compile(r"([ESLUM])(?:[-_](.+))?", re.DOTALL)
"""Of BIOES, BILOU and BMES; in capitals and in front only, since types and words can end in such a letter."""


class Label(NamedTuple):
    """A token's label: ``prefix`` is "B", "I" or "O", ``type`` in capitals and empty for a bare label.

    As it is written the prefix may also be "E", "S", "L", "U" or "M", of other schemes; ``tag_schemes`` reads them as IOB2.
    """

    prefix: str
    type: str = ""


class Span(NamedTuple):
    """Tokens ``start`` to ``end`` (exclusive) that form an entity of ``type``."""

    start: int
    end: int
    type: str


OUTSIDE = Label("O")
_KNOWN: dict[str, Label | None] = {"O": OUTSIDE, "B": Label("B"), "I": Label("I")}
_MOST_KNOWN = 4096


def read_label(text: str) -> Label | None:
    """Read ``O``, ``B``, ``I``, ``B-X``, ``X-B`` or ``B_X`` in any case, and ``S-X`` and its like; None for anything else.

    >>> read_label("problem-i")
    Label(prefix='I', type='PROBLEM')
    """
    if text not in _KNOWN:
        label = _read_label(text)
        if len(_KNOWN) >= _MOST_KNOWN:  # a babbling model invents labels without end
            return label
        _KNOWN[text] = label
    return _KNOWN[text]


def spans_of(labels: Sequence[Label], *, strict: bool) -> list[Span]:
    """Return the spans of a sentence in order; they do not overlap.

    Args:
        labels: a label per token.
        strict: IOB2: a span begins with B and goes on with I of its type, any other I belongs to no span. Otherwise as
            conlleval reads them (seqeval's default): an I that continues nothing begins a span.
    """
    spans: list[Span] = []
    start, kind = -1, ""
    for place, (prefix, of_type) in enumerate(labels):
        if prefix == "I" and start >= 0 and of_type == kind:
            continue
        if start >= 0:
            spans.append(Span(start, place, kind))
            start = -1
        if prefix == "B" or (prefix == "I" and not strict):
            start, kind = place, of_type
    if start >= 0:
        spans.append(Span(start, len(labels), kind))
    return spans


def overlapping_pairs(first: Sequence[Span], second: Sequence[Span]) -> int:
    """Return how many spans of ``first`` can be paired, each with another one of ``second`` of its type that it touches.

    Spans of one list do not overlap, so pairing from left to right per type finds the most pairs.
    """
    pairs = 0
    for kind in {span.type for span in first} & {span.type for span in second}:
        left = [span for span in first if span.type == kind]
        right = [span for span in second if span.type == kind]
        i = j = 0
        while i < len(left) and j < len(right):
            if left[i].start < right[j].end and right[j].start < left[i].end:
                pairs, i, j = pairs + 1, i + 1, j + 1
            elif left[i].end <= right[j].start:
                i += 1
            else:
                j += 1
    return pairs


def _read_label(text: str) -> Label | None:
    if text.upper() == "O":
        return OUTSIDE
    if found := _PREFIX_FIRST.fullmatch(text):
        return Label(found[1].upper(), (found[2] or "").upper())
    if found := _PREFIX_LAST.fullmatch(text):
        return Label(found[2].upper(), found[1].upper())
    if found := _OTHER_PREFIX.fullmatch(text):
        return Label(found[1], (found[2] or "").upper())
    return None
