"""Packs samples into rows of fixed length, best fit over the whole set, and turns rows into padded arrays."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from medtune.data.fitting import Filling, fill_rows
from medtune.plugins.contracts import PackedRow

__all__ = ["SampleStore", "best_fit", "prompts_of", "to_batch"]

_IGNORED = -100
_FULL = 0.995


class SampleStore:
    """The prepared training set: samples as flat arrays, and which of them share a row; satisfies ``PackedRows``.

    Args:
        arrays: ``ids`` and ``supervised`` [tokens], ``offsets`` [samples + 1] into them, ``members`` [samples] in the
            order of the rows, ``bounds`` [rows + 1] into ``members``, ``source_index`` [samples], ``row_ids`` [bytes of
            UTF-8] and ``row_id_offsets`` [samples + 1] into them.
        sources: names that ``source_index`` points to.
        fingerprint: identity of the whole set.
    """

    def __init__(self, arrays: dict[str, Any], sources: Sequence[str], fingerprint: str) -> None:
        self._arrays, self._sources, self.fingerprint = arrays, sources, fingerprint

    def __len__(self) -> int:
        return len(self._arrays["bounds"]) - 1

    def __getitem__(self, index: int) -> PackedRow:
        import numpy as np

        if not 0 <= index < len(self):
            raise IndexError(index)
        bounds, offsets = self._arrays["bounds"], self._arrays["offsets"]
        members = self._arrays["members"][bounds[index] : bounds[index + 1]]
        spans = [slice(int(offsets[m]), int(offsets[m + 1])) for m in members]
        ids: Any = np.concatenate([self._arrays["ids"][s] for s in spans])
        supervised: Any = np.concatenate([self._arrays["supervised"][s] for s in spans])
        return PackedRow(
            input_ids=ids,
            supervised=supervised,
            lengths=[s.stop - s.start for s in spans],
            samples=members.tolist(),
        )

    @property
    def tokens(self) -> int:
        """Tokens of all samples."""
        return int(self._arrays["offsets"][-1])

    @property
    def sample_tokens(self) -> float:
        """Length of the sample that a token lies in, on average over all tokens."""
        import numpy as np

        lengths = np.diff(self._arrays["offsets"]).astype(np.float64)
        return float((lengths**2).sum() / max(lengths.sum(), 1))

    @property
    def row_ids(self) -> list[str]:
        """Row ids of all samples."""
        return [self.row_id(sample) for sample in range(len(self._arrays["offsets"]) - 1)]

    def row_id(self, sample: int) -> str:
        """Return the row id of a sample."""
        start, end = self._arrays["row_id_offsets"][sample : sample + 2]
        return bytes(self._arrays["row_ids"][start:end]).decode()

    def source(self, sample: int) -> str:
        """Return the source of a sample."""
        return self._sources[int(self._arrays["source_index"][sample])]


def best_fit(lengths: Sequence[int], max_length: int, seed: int) -> list[list[int]]:
    """Share out samples over rows of ``max_length`` tokens, over the whole set.

    Rows are filled one after the other with the samples that fit them best (``fitting``). Where that leaves more than
    half a percent empty, samples are also put one after the other, longest first, into the row that they fit best, and
    the way that needs fewer rows is taken. Equal lengths and the order of the rows are shuffled with the seed. Nothing
    is cut, dropped or repeated.

    Args:
        lengths: tokens per sample, each from 1 to ``max_length``.
        max_length: tokens per row.
        seed: of the shuffles.

    Returns:
        Sample numbers per row.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(lengths))
    order = shuffled[np.argsort(-np.asarray(lengths, dtype=np.int64)[shuffled], kind="stable")].tolist()
    filled = fill_rows(lengths, max_length)
    count = sum(filling.times for filling in filled)
    rows: list[list[int]] = []
    if sum(lengths) < _FULL * max_length * count:
        rows = _decreasing(order, lengths, max_length)
    if not rows or count < len(rows):
        rows = _assigned(filled, order, lengths)
    return [rows[i] for i in draw.permutation(len(rows))]


def prompts_of(rows: Iterable[PackedRow]) -> dict[int, list[int]]:
    """Return the ids of each sample before the first that carries loss, numbered over all rows: what samples may share."""
    prompts: list[list[int]] = []
    for row in rows:
        for end, length in zip(accumulate(row.lengths), row.lengths, strict=True):
            marks = list(row.supervised[end - length : end])
            first = marks.index(1) if 1 in marks else 0
            prompts.append(list(row.input_ids[end - length : end - length + first]))
    return dict(enumerate(prompts))


def to_batch(rows: Sequence[PackedRow], max_length: int, pad_id: int) -> dict[str, Any]:
    """Turn packed rows into arrays.

    Positions restart at 0 with every sample, and transformers isolates samples by them when it is given no attention
    mask (``masking_utils.find_packed_sequence_indices``), under sdpa and eager alike. Padding is a sample of its own.

    Args:
        rows: packed rows.
        max_length: width of the arrays.
        pad_id: id of the padding.

    Returns:
        ``input_ids``, ``labels`` (-100 where there is no loss) and ``position_ids``, int64 [rows, max_length].
    """
    import numpy as np

    shape = (len(rows), max_length)
    ids = np.full(shape, pad_id, dtype=np.int64)
    labels = np.full(shape, _IGNORED, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        used = len(row.input_ids)
        ids[index, :used] = row.input_ids
        labels[index, :used] = np.where(np.asarray(row.supervised, dtype=bool), ids[index, :used], _IGNORED)
        start = 0
        for length in (*row.lengths, max_length - used):
            positions[index, start : start + length] = np.arange(length)
            labels[index, start : start + 1] = _IGNORED  # a first token would be predicted from another sample
            start += length
    return {"input_ids": ids, "labels": labels, "position_ids": positions}


def _decreasing(order: Sequence[int], lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Put samples, longest first in ``order``, into the fullest row that has room for each."""
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(max_length + 1)]  # room -> rows that have it
    rooms = 0  # bit n is set while some row has room n, so that the least sufficient one is found at once
    for sample in order:
        length = int(lengths[sample])
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
            rows[row].append(sample)
            left = room - length
        else:
            row, left = len(rows), max_length - length
            rows.append([sample])
        if left:
            with_room[left].append(row)
            rooms |= 1 << left
    return rows


def _assigned(filled: Sequence[Filling], order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Give samples their places in rows that are known by lengths only."""
    of_length: dict[int, list[int]] = {}
    for sample in order:
        of_length.setdefault(int(lengths[sample]), []).append(sample)
    return [[of_length[length].pop() for length in each.lengths] for each in filled for _ in range(each.times)]
