"""Finds training rows that also stand among the evaluation rows: as they are, under another instruction, or nearly."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from medtune.data.overlap_grams import GramIndex
from medtune.data.row_keys import RowKeys, Split, keys_of
from medtune.data.splits import document_of
from medtune.plugins.contracts import Example

__all__ = ["COPIES", "KINDS", "Overlap", "OverlapFinder", "Pair"]

KINDS = ("exact", "normalised", "input", "near", "document")
"""Same text; same question but for case, spaces and punctuation; same input under another instruction; half of the runs
of tokens that tell an evaluation row, or its input, apart; same document or patient."""

COPIES = KINDS[:2]
"""Kinds in which the evaluation row's very question is trained on."""
_PAIRS = 16  # training rows named per evaluation row; all are counted
_COMPANY = (
    50,
    1000,
)  # so many other parts, and one more per thousand rows, may a part stand beside: else it is paraphrase
_SHORT = 4  # times shorter than the other part: rather a question about it than an input
_FEW = 3  # other parts beside which a short part is still taken for an input


class Pair(NamedTuple):
    """An evaluation row and a training row that belong together; ``trained`` is False where that one was left out."""

    evaluation: str
    training: str
    kind: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found.

    Attributes:
        counts: source -> kind -> training rows.
        evaluation_rows: ids of evaluation rows that have a counterpart among the rows trained on.
        pairs: evidence, up to 16 training rows per evaluation row.
    """

    counts: dict[str, dict[str, int]]
    evaluation_rows: list[str]
    pairs: list[Pair]


@dataclass(slots=True)
class _Part:
    """A part of evaluation rows' questions, and what it was met beside."""

    beside: set[int] = field(default_factory=set[int])
    is_common: bool = False

    def meet(self, other: int, limit: int) -> None:
        if not self.is_common:
            self.beside.add(other)
            if len(self.beside) > limit:
                self.is_common, self.beside = True, set()


@dataclass(slots=True)
class _Undecided:
    """Training rows that share the same parts with evaluation rows: what they mean shows when all rows were met."""

    count: int = 0
    row_ids: list[str] = field(default_factory=list[str])


class OverlapFinder:
    """Compares training rows with a fixed set of evaluation rows, all with all.

    A part of a question that stands beside many others is an instruction or a question asked of many texts, and no
    overlap; how many is known at the end only. Until then ``find`` judges by the rows met so far.

    Args:
        examples: evaluation rows.
        token_ids: their ids, one array each.
        inputs: token at which each row's input begins, as ``GramIndex`` takes them.
        drops: whether the caller leaves out the rows for which ``find`` names a kind.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        token_ids: Sequence[Any],
        inputs: Sequence[int] | None = None,
        *,
        drops: bool = False,
    ) -> None:
        self._examples, self._drops = examples, drops
        self._seen = 0
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._hit: set[int] = set()
        self._pairs: dict[int, list[Pair]] = defaultdict(list)
        self._undecided: dict[tuple[str, str | None, tuple[int, ...]], _Undecided] = defaultdict(_Undecided)
        self._texts: dict[int, list[int]] = defaultdict(list)
        self._questions: dict[int, list[int]] = defaultdict(list)
        self._documents: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._parts: dict[int, _Part] = defaultdict(_Part)
        self._splits: dict[int, list[tuple[int, Split | None]]] = defaultdict(list)
        for index, example in enumerate(examples):
            self._add(index, example)
        first = [rows[0] for rows in self._questions.values()]  # rows with one question are one text
        self._same = list(self._questions.values())
        begins = inputs if inputs is not None else [0] * len(examples)
        self._grams = GramIndex([token_ids[i] for i in first], [begins[i] for i in first])

    def find(
        self, examples: Sequence[Example], token_ids: Sequence[Any], keys: Sequence[RowKeys] | None = None
    ) -> list[str | None]:
        """Return the kind of overlap of each training row as far as it can be told now, None for none.

        Args:
            examples: training rows.
            token_ids: their ids, one array each.
            keys: from ``keys_of``, where the caller has them.
        """
        if not self._examples:
            return [None] * len(examples)
        self._seen += len(examples)
        near = self._grams.near(token_ids)
        keys = keys if keys is not None else [keys_of(example) for example in examples]
        for row in keys:
            self._meet(row.splits)
        return [self._judge(*each, near.get(i, ())) for i, each in enumerate(zip(examples, keys, strict=True))]

    def settle(self) -> Overlap:
        """Return what was found, with all rows met."""
        counts = {source: Counter(kinds) for source, kinds in self._counts.items()}
        hit, pairs = set(self._hit), {index: list(found) for index, found in self._pairs.items()}
        for (source, otherwise, parts), rows in self._undecided.items():
            shared = self._inputs_in(parts)
            kind = _strongest(otherwise, bool(shared))
            if kind:
                counts.setdefault(source, Counter())[kind] += rows.count
            hit |= set(shared)
            for index in shared:
                named = pairs.setdefault(index, [])
                named += [Pair(self._examples[index].row_id, row, "input", trained=True) for row in rows.row_ids]
        return Overlap(
            {source: dict(sorted(kinds.items())) for source, kinds in sorted(counts.items())},
            sorted({self._examples[index].row_id for index in hit}),
            [pair for index in sorted(pairs) for pair in _strongest_of(pairs[index])[:_PAIRS]],
        )

    def _add(self, index: int, example: Example) -> None:
        """Index an evaluation row by whatever a training row may share with it."""
        keys = keys_of(example)
        self._texts[keys.text].append(index)
        self._questions[keys.question].append(index)
        if document := document_of(example):
            self._documents[document].append(index)
        self._splits[keys.question].append((index, None))
        for split in keys.splits:
            self._parts[split.before].meet(split.behind, _COMPANY[0])
            self._parts[split.behind].meet(split.before, _COMPANY[0])
            self._splits[split.before].append((index, split))
            self._splits[split.behind].append((index, split))

    def _meet(self, splits: Sequence[Split]) -> None:
        limit = _COMPANY[0] + self._seen // _COMPANY[1]
        for split in splits:
            for part, other in ((split.before, split.behind), (split.behind, split.before)):
                if part in self._parts:
                    self._parts[part].meet(other, limit)

    def _judge(self, example: Example, keys: RowKeys, near: Sequence[int]) -> str | None:
        """Say what the row is, and keep it: decided, or for the end."""
        decided = self._decided(example, keys, near)
        otherwise = next(iter(decided), None)
        shared = (keys.question, *(part for split in keys.splits for part in (split.behind, split.before)))
        parts = tuple(part for part in shared if part in self._splits and not self._is_common(part))
        inputs = self._inputs_in(parts) if parts else []
        kind = _strongest(otherwise, bool(inputs))
        dropped = self._drops and kind is not None
        for found, rows in decided.items():
            for index in rows:
                self._name(index, example.row_id, found, trained=not dropped)
        if dropped:
            for index in inputs:
                self._name(index, example.row_id, "input", trained=False)
        if parts and not dropped:
            undecided = self._undecided[example.source, otherwise, parts]
            undecided.count += 1
            if len(undecided.row_ids) < _PAIRS:
                undecided.row_ids.append(example.row_id)
        elif kind:
            self._counts[example.source][kind] += 1
        return kind

    def _decided(self, example: Example, keys: RowKeys, near: Sequence[int]) -> dict[str, list[int]]:
        """Return the kinds that do not depend on other rows, the strongest first, with their evaluation rows."""
        found = {
            "exact": self._texts.get(keys.text, []),
            "normalised": self._questions.get(keys.question, []),
            "near": [row for group in near for row in self._same[group]],
            "document": self._documents.get(document, []) if (document := document_of(example)) else [],
        }
        return {kind: rows for kind, rows in found.items() if rows}

    def _inputs_in(self, parts: Sequence[int]) -> list[int]:
        """Return the evaluation rows whose input is among ``parts`` of a training row."""
        found = {index for part in parts for index, split in self._splits[part] if self._is_input(part, split)}
        return sorted(found)

    def _is_input(self, part: int, split: Split | None) -> bool:
        """Say whether a part of an evaluation row is its input, rather than an instruction or a question about it."""
        return split is None or part == self._input_of(split)

    def _input_of(self, split: Split) -> int | None:
        """Tell which of two parts is the input, None where neither is known to be."""
        before, behind = self._parts[split.before], self._parts[split.behind]
        if before.is_common or behind.is_common:
            return None if before.is_common and behind.is_common else split.behind if before.is_common else split.before
        if split.behind_length * _SHORT >= split.before_length:
            return split.behind
        asked_of, told_to = len(behind.beside), len(before.beside)
        if asked_of >= _FEW and told_to < asked_of:
            return split.before
        return split.behind if split.is_usual or told_to >= _FEW else None

    def _is_common(self, part: int) -> bool:
        return part in self._parts and self._parts[part].is_common

    def _name(self, index: int, training: str, kind: str, *, trained: bool) -> None:
        if trained:
            self._hit.add(index)
        if len(self._pairs[index]) < _PAIRS:
            self._pairs[index].append(Pair(self._examples[index].row_id, training, kind, trained))


def _strongest(decided: str | None, shares_input: bool) -> str | None:
    return "input" if shares_input and decided not in ("exact", "normalised") else decided


def _strongest_of(pairs: Sequence[Pair]) -> list[Pair]:
    """Return one pair per training row, of the strongest kind."""
    ranked = sorted(pairs, key=lambda pair: KINDS.index(pair.kind))
    return list({pair.training: pair for pair in reversed(ranked)}.values())[::-1]
