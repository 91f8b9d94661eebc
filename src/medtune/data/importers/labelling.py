"""From mentions to a label per token: overlapping and discontinuous ones, and borders inside tokens, counted."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medtune.data.importers.documents import Mention, Passage, Told
from medtune.data.importers.options import Discontinuous, Marks, Overlapping
from medtune.data.importers.schemes import tag_of
from medtune.data.importers.words import Place, sentences_of, tokens_of

__all__ = ["LabelledSentence", "label_passage", "reach"]


class LabelledSentence(NamedTuple):
    """A sentence: its place in the passage, and each token's place and label (``O``, ``B-X``, ``I-X``)."""

    place: Place
    tokens: Sequence[Place]
    labels: Sequence[str]


class _Marked(NamedTuple):
    """Tokens ``first`` to ``last`` (exclusive) of a passage under a type."""

    first: int
    last: int
    type: str


def reach(mention: Mention) -> Place:
    """Return a mention's place from its first to its last character."""
    return Place(mention.fragments[0][0], mention.fragments[-1][1])


def label_passage(passage: Passage, marks: Marks, told: Told, place: str) -> Iterator[LabelledSentence]:
    """Yield the sentences of a passage whose mentions lie in place; each mention lies in one sentence.

    Args:
        passage: text and mentions, offsets in characters.
        marks: how mentions become labels.
        told: counts what is not labelled as it stands.
        place: of the document, for ``told``.
    """
    mentions = [m for m in passage.mentions if _is_labelled(m, passage.text, marks, told, place)]
    tokens = tokens_of(passage.text, marks.tokens)
    labels = ["O"] * len(tokens)
    for first, last, kind in _chosen(mentions, tokens, marks, told, place):
        labels[first:last] = [tag_of("B", kind), *[tag_of("I", kind)] * (last - first - 1)]
    at = 0
    for sentence in sentences_of(passage.text, [reach(m) for m in mentions], by_lines=marks.by_lines):
        start = at
        while at < len(tokens) and tokens[at].start < sentence.end:
            at += 1
        yield LabelledSentence(sentence, tokens[start:at], labels[start:at])


def _is_labelled(mention: Mention, text: str, marks: Marks, told: Told, place: str) -> bool:
    """Count a mention in pieces, and say whether it is labelled; pieces with nothing but white space between are one."""
    gaps = zip(mention.fragments, mention.fragments[1:], strict=False)
    if not any(text[end:start].strip() for (_, end), (start, _) in gaps):
        return True
    if marks.discontinuous is Discontinuous.DROP:
        told.leave_out("discontinuous mentions", place)
        return False
    told.note("discontinuous mentions, labelled from their first to their last character", place)
    return True


def _chosen(
    mentions: Sequence[Mention], tokens: Sequence[Place], marks: Marks, told: Told, place: str
) -> list[_Marked]:
    """Return the mentions to label, in tokens; none overlap."""
    found = [marked for m in mentions if (marked := _in_tokens(m, tokens, told, place)) is not None]
    sign = -1 if marks.overlapping is Overlapping.LONGEST else 1
    taken: list[_Marked | None] = [None] * len(tokens)
    chosen: list[_Marked] = []
    for marked in sorted(found, key=lambda m: (sign * (m.last - m.first), m.first)):
        other = next((t for t in taken[marked.first : marked.last] if t is not None), None)
        if other is None:
            chosen.append(marked)
            taken[marked.first : marked.last] = [marked] * (marked.last - marked.first)
        elif other == marked:
            told.leave_out("mentions marked twice", place)
        elif other[:2] == marked[:2]:
            told.leave_out("mentions of another type on the same tokens", place)
        else:
            told.leave_out(f"mentions that overlap a {'longer' if sign < 0 else 'shorter'} or earlier one", place)
    return chosen


def _in_tokens(mention: Mention, tokens: Sequence[Place], told: Told, place: str) -> _Marked | None:
    """Return the tokens that a mention touches; a token is never cut, since its borders would tell the answer."""
    start, end = reach(mention)
    first = _first_after(tokens, start)
    last = first
    while last < len(tokens) and tokens[last].start < end:
        last += 1
    if first == last:
        told.leave_out("mentions without a token", place)
        return None
    if tokens[first].start < start or tokens[last - 1].end > end:
        told.note("mentions that begin or end inside a token, labelled with all of it", place)
    return _Marked(first, last, mention.type)


def _first_after(tokens: Sequence[Place], start: int) -> int:
    """Return the first token that ends behind ``start``."""
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        if tokens[middle].end <= start:
            low = middle + 1
        else:
            high = middle
    return low
