"""Whether samples that share a row see each other: one is changed, and what the model says of the others is compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import Any

from medtune.data.pack import prompts_of, to_batch
from medtune.data.prefixes import prefix_groups
from medtune.errors import DataError
from medtune.plugins.contracts import PackedRow, PackedRows

__all__ = [
    "Answers",
    "Layout",
    "LeakFigures",
    "PairRow",
    "logits_of",
    "measure_leaks",
    "pair_row",
    "part_of",
    "shared_rows",
]

Answers = Callable[[Mapping[str, Any]], Any]
"""Arrays of a layout -> what a model says at or of each token, fp32 [rows, width, any number]."""

Layout = Callable[[Sequence[PackedRow], int, int], Mapping[str, Any]]
"""Rows, their width and the padding -> arrays, as ``to_batch``."""

_ROWS = 2  # in one batch: a row must not see the one beside it either
_MOST_TOKENS = 1024  # of a row; longer ones are cut, so that the logits of a large vocabulary fit beside the model
_LOOKED_AT = 64  # rows that are searched for samples with a common prefix
_PADDING = 8
_TOLERATED = 1e-3  # of the control: kernels that sum in another order for another content


@dataclass(frozen=True, slots=True)
class LeakFigures:
    """What changing samples did.

    Attributes:
        samples: samples that were changed, one after the other.
        largest_change: of an answer of another sample, a logit or a loss in nats; 0 where samples are isolated.
        control: the same without isolation, the positions running on through the row: what a leak looks like.
    """

    samples: int
    largest_change: float
    control: float

    @property
    def isolated(self) -> bool:
        """Whether no other sample's answers changed."""
        return self.largest_change <= _TOLERATED * self.control


def shared_rows(rows: PackedRows) -> list[PackedRow]:
    """Return the first rows that hold two samples or more, none longer than a thousand tokens or so."""
    return [_cut(row) for row in islice((row for row in _each(rows) if len(row.lengths) > 1), _ROWS)]


@dataclass(frozen=True, slots=True)
class PairRow:
    """A row of two samples with a common prefix, of so many tokens, that training computes once."""

    row: PackedRow
    common: int


def pair_row(rows: PackedRows) -> PairRow | None:
    """Return a row of two samples with a common prefix, None where there are none."""
    samples: list[PackedRow] = []
    for row in islice(_each(rows), _LOOKED_AT):
        samples += [part_of(row, [sample]) for sample in range(len(row.lengths))]
    groups = prefix_groups(prompts_of(samples))
    if not groups:
        return None
    _length, (first, second, *_others) = groups[0]
    one, other = samples[first], samples[second]
    ((common, _both),) = prefix_groups(prompts_of([one, other]))
    pair = PackedRow(
        input_ids=[*one.input_ids, *other.input_ids],
        supervised=[*one.supervised, *other.supervised],
        lengths=[*one.lengths, *other.lengths],
        samples=[*one.samples, *other.samples],
    )
    return PairRow(pair, common)


def _each(rows: PackedRows) -> Iterator[PackedRow]:
    return (rows[index] for index in range(len(rows)))


def logits_of(model: Any) -> Answers:
    """Return what asks a causal transformers model, in evaluation mode, as in training: position ids and no mask."""

    def logits(arrays: Mapping[str, Any]) -> Any:
        import torch

        given = {name: torch.from_numpy(arrays[name]).to(model.device) for name in ("input_ids", "position_ids")}
        with torch.no_grad():
            return model(**given, use_cache=False).logits.float()

    return logits


def measure_leaks(
    answers: Answers,
    rows: Sequence[PackedRow],
    vocabulary: int,
    pad_id: int,
    *,
    layout: Layout = to_batch,
    kept: int = 0,
) -> LeakFigures:
    """Change the first, a middle and the last sample of each row, and see what happens to the answers of all others.

    Args:
        answers: asks the model.
        rows: from ``shared_rows`` or ``pair_row``.
        vocabulary: number of token ids.
        pad_id: id of the padding.
        layout: makes the arrays that the model is given.
        kept: first tokens of a sample that are not changed.

    Raises:
        DataError: the model answers no sample by its own tokens, so that nothing can be told.
    """
    width = max(len(row.input_ids) for row in rows) + _PADDING
    changes = list(_changes(rows, vocabulary, kept))
    largest = _largest_change(answers, rows, changes, lambda packed: layout(packed, width, pad_id))
    control = _largest_change(answers, rows, changes, lambda packed: _running_on(packed, width, pad_id))
    if not control > 0:
        raise DataError("the leak test cannot tell: what this model says of a token does not depend on those before")
    return LeakFigures(len(changes), largest, control)


@dataclass(frozen=True, slots=True)
class _Change:
    """The rows with one sample changed, the number of its row, and the changed place there."""

    rows: list[PackedRow]
    number: int
    place: slice


def _changes(rows: Sequence[PackedRow], vocabulary: int, kept: int) -> Iterator[_Change]:
    for number, row in enumerate(rows):
        places = _places(row)
        for sample in sorted({0, len(places) // 2, len(places) - 1}):
            place = slice(places[sample].start + kept, places[sample].stop)
            ids = [int(i) for i in row.input_ids]
            ids[place] = [(i + 1) % vocabulary for i in ids[place]]
            yield _Change([*rows[:number], replace(row, input_ids=ids), *rows[number + 1 :]], number, place)


def _largest_change(
    answers: Answers,
    rows: Sequence[PackedRow],
    changes: Sequence[_Change],
    arrays: Callable[[Sequence[PackedRow]], Mapping[str, Any]],
) -> float:
    import torch

    before = answers(arrays(rows))
    largest: list[Any] = []
    for change in changes:
        moved = (answers(arrays(change.rows)) - before).abs().amax(-1)
        moved[change.number, change.place] = 0
        for index, row in enumerate(rows):
            moved[index, len(row.input_ids) :] = 0  # padding
        largest.append(moved.max())
    return float(torch.stack(largest).max())  # NaN where an answer is


def _running_on(rows: Sequence[PackedRow], width: int, pad_id: int) -> Mapping[str, Any]:
    """As ``to_batch``, every row a single sample."""
    return to_batch([replace(row, lengths=[len(row.input_ids)]) for row in rows], width, pad_id)


def _cut(row: PackedRow) -> PackedRow:
    """Keep the first tokens of each sample where the row is very long."""
    if len(row.input_ids) <= _MOST_TOKENS:
        return row
    kept = min(len(row.lengths), _MOST_TOKENS // _PADDING)
    return part_of(row, range(kept), _MOST_TOKENS // kept)


def part_of(row: PackedRow, samples: Sequence[int], most: int | None = None) -> PackedRow:
    """Return some samples of a row, each of at most so many tokens."""
    places = _places(row)
    spans = [range(places[sample].start, places[sample].stop)[:most] for sample in samples]
    return PackedRow(
        input_ids=[int(row.input_ids[i]) for span in spans for i in span],
        supervised=[int(row.supervised[i]) for span in spans for i in span],
        lengths=[len(span) for span in spans],
        samples=[row.samples[sample] for sample in samples],
    )


def _places(row: PackedRow) -> list[slice]:
    """Return where each sample lies in its row."""
    return [slice(end - length, end) for end, length in zip(accumulate(row.lengths), row.lengths, strict=True)]
