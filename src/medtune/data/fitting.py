"""Fills rows one after the other with the lengths that are left, looking one sample further than best fit does."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Filling", "fill_rows"]

_SLACKS = (256, 128, 100, 64, 40, 16)
"""A row may stay empty by one part in so many before two shorter samples are preferred to the longest that fits: smaller
gaps are not worth the short samples, which later rows need. How much is worth it depends on the lengths, so all are tried."""


@dataclass(frozen=True, slots=True)
class Filling:
    """Lengths that share a row, and the number of rows filled so."""

    lengths: list[int]
    times: int


def fill_rows(lengths: Sequence[int], max_length: int) -> list[Filling]:
    """Share out samples over rows, longest first, each row filled before the next is begun.

    Best-fit decreasing looks for a row for each sample, this for samples for each row, and wastes less where short
    samples are rare. Only how often each length occurs matters: a combination is used as often as it can be, so the time
    does not grow with the number of samples.

    Args:
        lengths: tokens per sample, each from 1 to ``max_length``.
        max_length: tokens per row.
    """
    counts = Counter(lengths)
    tries = (_filled(_Left(max_length, counts.copy(), max_length // parts)) for parts in _SLACKS)
    return min(tries, key=lambda rows: sum(row.times for row in rows))


def _filled(left: "_Left") -> list[Filling]:
    rows: list[Filling] = []
    while left.any():
        row, room = [], left.width
        while (length := left.best(room)) is not None:
            row.append(length)
            left.take(length, 1)
            room -= length
        again = min(left.counts[length] // times for length, times in Counter(row).items())
        for length in row:
            left.take(length, again)
        rows.append(Filling(row, 1 + again))
    return rows


class _Left:
    """The lengths that are left, also as the bits of two numbers: bit n, and bit width - n, for length n."""

    def __init__(self, width: int, counts: Counter[int], slack: int) -> None:
        self.width, self.counts, self._slack = width, counts, slack
        self._present = sum(1 << length for length in counts)
        self._mirrored = sum(1 << (width - length) for length in counts)

    def any(self) -> bool:
        return self._present > 0

    def take(self, length: int, times: int) -> None:
        self.counts[length] -= times
        if not self.counts[length]:
            self._present &= ~(1 << length)
            self._mirrored &= ~(1 << (self.width - length))

    def best(self, room: int) -> int | None:
        """Return the longest that fits, or the longer of two that fill the room better; None when nothing fits."""
        longest = (self._present & ((2 << room) - 1)).bit_length() - 1
        if longest < 1:
            return None
        if room >= 2 * longest or room - longest <= self._slack:
            return longest
        for together in range(room, longest, -1):
            pairs = self._present & (self._mirrored >> (self.width - together))
            half = together // 2
            if together % 2 == 0 and self.counts[half] == 1:
                pairs &= ~(1 << half)
            if pairs:
                return pairs.bit_length() - 1
        return longest
