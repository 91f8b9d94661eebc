"""Finds rows that hold a large part of an evaluation row's text, by runs of tokens that few rows share."""

from collections.abc import Sequence
from typing import Any

__all__ = ["GRAM", "GramIndex"]

GRAM = 13
"""Tokens of a run; shorter runs recur by chance in clinical language."""
_SHARED = 0.5  # share of an evaluation row's own runs that make a near duplicate
_SHARED_BY = 2  # evaluation rows that may share a run before it counts as paraphrase, not content
_MET_IN = (20, 1000)  # so many training rows, and one more per thousand, may hold it before it counts as paraphrase
_LEAST_INPUT = 2 * GRAM  # tokens of an input from which it is compared by itself too
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)


class GramIndex:
    """The runs of tokens that tell evaluation rows apart, and which rows hold each.

    Text that rows of one task share, such as the instruction, is left out: runs of several evaluation rows from the
    start, and those that many training rows turn out to hold as they are met.

    Args:
        token_ids: ids of each evaluation row; rows with one text are given once.
        inputs: token at which the input begins, behind an instruction; 0 where the row is its input. An input that is
            long enough is compared by itself too, so that another instruction before it makes no difference.
    """

    def __init__(self, token_ids: Sequence[Any], inputs: Sequence[int] | None = None) -> None:
        import numpy as np

        runs = [_rolling(ids) for ids in token_ids]
        rows = [np.unique(of_row) for of_row in runs]
        grams = np.concatenate(rows) if rows else np.empty(0, dtype=np.uint64)
        owners = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        values, where, times = np.unique(grams, return_inverse=True, return_counts=True)
        own = times[where] <= _SHARED_BY
        self._values = values[times <= _SHARED_BY]
        self._owner_grams = np.searchsorted(self._values, grams[own])  # entry -> run, and entry -> row that holds it
        self._owners = owners[own]
        inside = [_in_input(*each) for each in zip(rows, runs, inputs or [0] * len(rows), strict=True)]
        self._in_input = (np.concatenate(inside) if inside else np.empty(0, dtype=bool))[own]
        self._by_gram = np.argsort(self._owner_grams, kind="stable")
        self._first = np.searchsorted(self._owner_grams[self._by_gram], np.arange(len(self._values) + 1))
        self._met = np.zeros(len(self._values), dtype=np.int64)
        self._seen = 0
        self._count = len(rows)
        bits = max(10, int(16 * len(self._values)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(2**bits, dtype=bool)
        self._filter[self._values >> self._shift] = True

    def near(self, token_ids: Sequence[Any]) -> dict[int, list[int]]:
        """Return training row -> evaluation rows of which it holds enough runs, the nearest first."""
        import numpy as np

        if not len(self._values) or not token_ids:
            return {}
        rows, grams = self._hits(token_ids)
        self._met += np.bincount(grams, minlength=len(self._values))
        self._seen += len(token_ids)
        content = self._met <= _MET_IN[0] + self._seen // _MET_IN[1]
        rows, grams = rows[content[grams]], grams[content[grams]]
        lengths = self._first[grams + 1] - self._first[grams]
        starts = np.repeat(self._first[grams] - np.cumsum(lengths) + lengths, lengths)
        entries = self._by_gram[starts + np.arange(lengths.sum())]
        pair_of = np.repeat(rows, lengths) * self._count + self._owners[entries]
        pairs, place, shared = np.unique(pair_of, return_inverse=True, return_counts=True)
        in_input = np.bincount(place, weights=self._in_input[entries], minlength=len(pairs))
        owner = pairs % self._count
        known = content[self._owner_grams]
        enough = shared >= self._needed(known)[owner]
        enough |= (in_input > 0) & (in_input >= self._needed(known & self._in_input)[owner])
        ranked = np.argsort(-shared[enough], kind="stable")
        found: dict[int, list[int]] = {}
        for pair in pairs[enough][ranked].tolist():
            found.setdefault(pair // self._count, []).append(pair % self._count)
        return found

    def _needed(self, entries: Any) -> Any:
        """Return how many of its chosen runs each evaluation row must share."""
        import numpy as np

        return np.ceil(_SHARED * np.bincount(self._owners[entries], minlength=self._count))

    def _hits(self, token_ids: Sequence[Any]) -> tuple[Any, Any]:
        """Return training row and number of each run known here, once per row."""
        import numpy as np

        lengths = np.array([len(ids) for ids in token_ids])
        grams = _rolling(np.concatenate(token_ids))
        maybe = np.flatnonzero(self._filter[grams >> self._shift])  # spares nearly all of the binary searches
        number = np.searchsorted(self._values, grams[maybe])
        number[number == len(self._values)] = 0
        ends = np.cumsum(lengths)
        row = np.searchsorted(ends, maybe, side="right")
        known = (self._values[number] == grams[maybe]) & (maybe + GRAM <= ends[row])
        once = np.unique(row[known] * len(self._values) + number[known])
        return once // len(self._values), once % len(self._values)


def _in_input(row: Any, runs: Any, start: int) -> Any:
    """Say of each run of a row whether it stands in the input, where that is long enough and not the whole row."""
    import numpy as np

    if not start or len(runs) - start < _LEAST_INPUT - GRAM + 1:
        return np.zeros(len(row), dtype=bool)
    return np.isin(row, runs[start:])


def _rolling(ids: Any) -> Any:
    """Return a hash of every run of ``GRAM`` tokens, uint64 [tokens - n + 1], modulo 2**64.

    Prefix sums of id * base**position, brought back to position 0 by the inverse, instead of a pass per token of a run.
    """
    import numpy as np

    values = np.asarray(ids).astype(np.uint64) + np.uint64(1)
    if len(values) < GRAM:
        return np.empty(0, dtype=np.uint64)
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * _powers(_BASE, len(values)), out=sums[1:])
    count = len(values) - GRAM + 1
    return (sums[GRAM:] - sums[:-GRAM]) * _powers(_INVERSE, count)


def _powers(base: int, count: int) -> Any:
    import numpy as np

    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, out=powers)
