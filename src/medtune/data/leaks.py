"""Whether samples that share a row see each other: one is changed, and the logits of the others are compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from medtune.data.pack import to_batch
from medtune.errors import DataError
from medtune.plugins.contracts import PackedRow, PackedRows

__all__ = ["Layout", "LeakFigures", "measure_leaks", "shared_rows"]

Layout = Callable[[Sequence[PackedRow], int, int], Mapping[str, Any]]
"""Rows, their width and the padding -> ``input_ids`` and ``position_ids``, as ``to_batch``."""

_ROWS = 2  # in one batch: a row must not see the one beside it either
_MOST_TOKENS = 1024  # of a row; longer ones are cut, so that the logits of a large vocabulary fit beside the model
_PADDING = 8
_TOLERATED = 1e-3  # of the control: kernels that sum in another order for another content


@dataclass(frozen=True, slots=True)
class LeakFigures:
    """What changing samples did.

    Attributes:
        samples: samples that were changed, one after the other.
        largest_change: of a logit of another sample; 0 where samples are isolated.
        control: the same without isolation, the positions running on through the row: what a leak looks like.
    """

    samples: int
    largest_change: float
    control: float

    @property
    def isolated(self) -> bool:
        """Whether no other sample's logits changed."""
        return self.largest_change <= _TOLERATED * self.control


def shared_rows(rows: PackedRows) -> list[PackedRow]:
    """Return the first rows that hold two samples or more, none longer than a thousand tokens or so."""
    found: list[PackedRow] = []
    for index in range(len(rows)):
        row = rows[index]
        if len(row.lengths) > 1:
            found.append(_cut(row))
        if len(found) == _ROWS:
            break
    return found


def measure_leaks(
    model: Any, rows: Sequence[PackedRow], vocabulary: int, pad_id: int, layout: Layout = to_batch
) -> LeakFigures:
    """Change the first, a middle and the last sample of each row, and see what happens to the logits of all others.

    Args:
        model: a causal transformers model in evaluation mode; run as in training, with position ids and no mask.
        rows: from ``shared_rows``.
        vocabulary: number of token ids.
        pad_id: id of the padding.
        layout: makes the arrays that the model is given.

    Raises:
        DataError: the model answers no sample by its own tokens, so that nothing can be told.
    """
    width = max(len(row.input_ids) for row in rows) + _PADDING
    changes = list(_changes(rows, vocabulary))
    largest = _largest_change(model, rows, changes, lambda packed: layout(packed, width, pad_id))
    control = _largest_change(model, rows, changes, lambda packed: _running_on(packed, width, pad_id))
    if not control > 0:
        raise DataError("the leak test cannot tell: the logits of this model do not depend on the tokens before them")
    return LeakFigures(len(changes), largest, control)


def _changes(rows: Sequence[PackedRow], vocabulary: int) -> Iterator[tuple[list[PackedRow], int, slice]]:
    """Yield the rows with one sample changed, the number of its row, and its place there."""
    for number, row in enumerate(rows):
        ends = list(accumulate(row.lengths))
        for sample in sorted({0, len(ends) // 2, len(ends) - 1}):
            place = slice(ends[sample] - row.lengths[sample], ends[sample])
            ids = [int(i) for i in row.input_ids]
            ids[place] = [(i + 1) % vocabulary for i in ids[place]]
            yield [*rows[:number], replace(row, input_ids=ids), *rows[number + 1 :]], number, place


def _largest_change(
    model: Any,
    rows: Sequence[PackedRow],
    changes: Sequence[tuple[list[PackedRow], int, slice]],
    arrays: Callable[[Sequence[PackedRow]], Mapping[str, Any]],
) -> float:
    import torch

    before = _logits(model, arrays(rows))
    largest: list[Any] = []
    for changed, number, place in changes:
        moved = (_logits(model, arrays(changed)) - before).abs().amax(-1)
        moved[number, place] = 0
        for index, row in enumerate(rows):
            moved[index, len(row.input_ids) :] = 0  # padding
        largest.append(moved.max())
    return float(torch.stack(largest).max())  # NaN where a logit is


def _logits(model: Any, arrays: Mapping[str, Any]) -> Any:
    """Return fp32 logits [rows, width, vocabulary]."""
    import torch

    given = {name: torch.from_numpy(arrays[name]).to(model.device) for name in ("input_ids", "position_ids")}
    with torch.no_grad():
        return model(**given, use_cache=False).logits.float()


def _running_on(rows: Sequence[PackedRow], width: int, pad_id: int) -> Mapping[str, Any]:
    """As ``to_batch``, every row a single sample."""
    return to_batch([replace(row, lengths=[len(row.input_ids)]) for row in rows], width, pad_id)


def _cut(row: PackedRow) -> PackedRow:
    """Keep the beginnings of the samples where the row is very long."""
    if len(row.input_ids) <= _MOST_TOKENS:
        return row
    kept = min(len(row.lengths), _MOST_TOKENS // _PADDING)
    most = _MOST_TOKENS // kept
    starts = [end - length for end, length in zip(accumulate(row.lengths), row.lengths, strict=True)][:kept]
    lengths = [min(length, most) for length in row.lengths[:kept]]
    spans = [range(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return PackedRow(
        input_ids=[int(row.input_ids[i]) for span in spans for i in span],
        supervised=[int(row.supervised[i]) for span in spans for i in span],
        lengths=lengths,
        samples=list(row.samples)[:kept],
    )
