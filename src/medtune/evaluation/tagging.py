"""Compares one answer of ``token : label`` lines with the gold lines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from medtune.evaluation.alignment import align
from medtune.evaluation.plain_text import normal
from medtune.evaluation.spans import OUTSIDE, Label, Span, overlapping_pairs, read_label, spans_of
from medtune.evaluation.tag_schemes import Scheme, as_iob2, scheme_of

__all__ = [
    "GoldTags",
    "SpanCounts",
    "TagCounts",
    "TaggedAnswer",
    "count_tags",
    "dict_keyed_counts",
    "read_lines",
    "written_labels",
]

_BLANKS = " \t\r"


class SpanCounts(NamedTuple):
    """Correct, predicted and gold spans."""

    correct: int
    predicted: int
    gold: int


class Line(NamedTuple):
    """A line of an answer; ``label`` is None when the line has none that can be read."""

    token: str
    label: Label | None
    separated: bool


@dataclass(frozen=True, slots=True)
class GoldTags:
    """Tokens of the input with their gold labels in IOB2.

    Attributes:
        tokens: of the input.
        labels: a label per token; O where it cannot be read.
        unreadable: lines whose label cannot be read.
        scheme: what the labels were written in; an answer is read in the same.
    """

    tokens: Sequence[str]
    labels: Sequence[Label]
    unreadable: int = 0
    scheme: Scheme = "IOB2"

    @classmethod
    def read(cls, text: str, scheme: Scheme | None = None) -> "GoldTags":
        """Read a gold answer; without a scheme, in the one that its own labels show."""
        lines = read_lines(text)
        written = written_labels(lines)
        known = scheme or scheme_of([written])
        unreadable = sum(line.label is None for line in lines)
        return cls([line.token for line in lines], as_iob2(written, known), unreadable, known)


@dataclass(frozen=True, slots=True)
class TaggedAnswer:
    """An answer against the tokens that it should label.

    Attributes:
        labels: a label per token of the input; O where no line, or none with a readable label, aligns.
        surplus: runs of consecutive lines that align with no token; a label is O there when it cannot be read, or when
            the line only repeats one that aligns or came before.
        lines: lines that are not blank.
        unaligned: tokens of the input that no line aligns with.
        unreadable: lines with a separator and no readable label behind it.
        is_exact: whether the lines hold exactly the input's tokens in order.
    """

    labels: Sequence[Label]
    surplus: Sequence[Sequence[tuple[str, Label]]]
    lines: int
    unaligned: int
    unreadable: int
    is_exact: bool

    @classmethod
    def read(cls, text: str, tokens: Sequence[str], scheme: Scheme = "IOB2") -> "TaggedAnswer":
        """Read an answer; lines are aligned with ``tokens`` in order, whatever their case, in the scheme of the gold."""
        lines = read_lines(text)
        written = [line.token for line in lines]
        is_exact = written == list(tokens)
        if is_exact:
            places: list[int | None] = list(range(len(tokens)))
        else:
            keys = [token.casefold() if line.separated else "\n" for token, line in zip(written, lines, strict=True)]
            places = align(keys, [token.casefold() for token in tokens])
        labels = [OUTSIDE] * len(tokens)
        for line, place in zip(lines, places, strict=True):
            if place is not None:
                labels[place] = line.label or OUTSIDE
        labels = as_iob2(labels, scheme)
        surplus = [_in_iob2(run, scheme) for run in _surplus_runs(lines, places)]
        aligned = sum(place is not None for place in places)
        unreadable = sum(line.separated and line.label is None for line in lines)
        return cls(labels, surplus, len(lines), len(tokens) - aligned, unreadable, is_exact)


@dataclass(frozen=True, slots=True)
class TagCounts:
    """Span counts of one answer.

    Attributes:
        strict: spans by IOB2.
        lenient: spans as conlleval reads them.
        overlapping: lenient spans paired with a gold span of their type that they touch.
        types: type -> strict counts.
    """

    strict: SpanCounts
    lenient: SpanCounts
    overlapping: int
    types: dict[str, SpanCounts]


@lru_cache(maxsize=4)  # an answer is read once for its spans and once for those of the published scorer
def read_lines(text: str) -> Sequence[Line]:
    """Split an answer into its lines that are not blank, each at its last `` : ``, because a token can be a colon.

    A line without one is split at its last tab.
    """
    lines: list[Line] = []
    for raw in normal(text).split("\n"):
        if line := raw.strip(_BLANKS):
            token, separator, label = line.rpartition(" : " if " : " in line else "\t")
            token, label = token.rstrip(_BLANKS), label.lstrip(_BLANKS)
            separated = bool(separator and token)
            lines.append(Line(token if separated else line, read_label(label) if separated else None, separated))
    return tuple(lines)


def count_tags(answer: TaggedAnswer, gold: GoldTags) -> TagCounts:
    """Count the spans of an answer.

    An entity among surplus lines is one that the model made up: it counts as predicted and cannot be correct, once for
    each mention (tokens and type) that the answer does not claim elsewhere. So a loop is one mistake, and an answer
    given twice none.
    """
    if answer.labels == gold.labels and not answer.surplus:
        return _count_perfect(gold)
    strict, types = _count(answer, gold, strict=True)
    lenient, _types = _count(answer, gold, strict=False)
    pairs = overlapping_pairs(spans_of(answer.labels, strict=False), spans_of(gold.labels, strict=False))
    return TagCounts(strict, lenient, pairs, types)


def dict_keyed_counts(text: str, gold: GoldTags) -> SpanCounts:
    """Count as the published scorer does: words are keys of a dict per sentence.

    A repeated word keeps its last label only, and a generated word that the sentence lacks is not looked at, so made-up
    entities cost nothing. It is here for comparison with published figures, not as a measure of quality.
    """
    expected = dict(zip(gold.tokens, gold.labels, strict=True))
    lines = read_lines(text)
    labels = as_iob2(written_labels(lines), gold.scheme)
    written = {line.token: label for line, label in zip(lines, labels, strict=True)}
    found = spans_of([written.get(word, OUTSIDE) for word in expected], strict=False)
    wanted = spans_of(list(expected.values()), strict=False)
    return SpanCounts(len(set(found) & set(wanted)), len(found), len(wanted))


def written_labels(lines: Sequence[Line]) -> list[Label]:
    """Return the labels of lines as they are written, O where there is none."""
    return [line.label or OUTSIDE for line in lines]


def _in_iob2(run: Sequence[tuple[str, Label]], scheme: Scheme) -> list[tuple[str, Label]]:
    labels = as_iob2([label for _token, label in run], scheme)
    return [(token, label) for (token, _label), label in zip(run, labels, strict=True)]


def _surplus_runs(lines: Sequence[Line], places: Sequence[int | None]) -> list[list[tuple[str, Label]]]:
    known = {
        (line.token.casefold(), line.label) for line, place in zip(lines, places, strict=True) if place is not None
    }
    runs: list[list[tuple[str, Label]]] = []
    run_is_open = False
    for line, place in zip(lines, places, strict=True):
        if place is None:
            key = (line.token.casefold(), line.label)
            label = OUTSIDE if key in known or line.label is None else line.label
            known.add(key)
            if not run_is_open:
                runs.append([])
            runs[-1].append((line.token, label))
        run_is_open = place is None
    return runs


def _count(answer: TaggedAnswer, gold: GoldTags, *, strict: bool) -> tuple[SpanCounts, dict[str, SpanCounts]]:
    found = spans_of(answer.labels, strict=strict)
    wanted = spans_of(gold.labels, strict=strict)
    correct = set(found) & set(wanted)
    made_up = _made_up(answer, [_mention(gold.tokens, span) for span in found], strict=strict)
    by_type = (
        Counter(span.type for span in correct),
        Counter([span.type for span in found] + [kind for _tokens, kind in made_up]),
        Counter(span.type for span in wanted),
    )
    types = {kind: SpanCounts(*(counter[kind] for counter in by_type)) for kind in by_type[1] | by_type[2]}
    return SpanCounts(len(correct), len(found) + len(made_up), len(wanted)), types


_Mention = tuple[tuple[str, ...], str]


def _mention(tokens: Sequence[str], span: Span) -> _Mention:
    return tuple(token.casefold() for token in tokens[span.start : span.end]), span.type


def _made_up(answer: TaggedAnswer, claimed: Sequence[_Mention], *, strict: bool) -> set[_Mention]:
    mentions: set[_Mention] = set()
    for run in answer.surplus:
        tokens = [token for token, _label in run]
        mentions |= {_mention(tokens, span) for span in spans_of([label for _token, label in run], strict=strict)}
    return mentions.difference(claimed)


def _count_perfect(gold: GoldTags) -> TagCounts:
    strict, lenient = spans_of(gold.labels, strict=True), spans_of(gold.labels, strict=False)
    types = {kind: SpanCounts(n, n, n) for kind, n in Counter(span.type for span in strict).items()}
    return TagCounts(
        SpanCounts(len(strict), len(strict), len(strict)),
        SpanCounts(len(lenient), len(lenient), len(lenient)),
        len(lenient),
        types,
    )
