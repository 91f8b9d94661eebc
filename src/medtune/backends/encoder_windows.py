"""Cuts inputs that are longer than an encoder takes into windows that overlap; each unit is answered for in one of them."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

__all__ = ["Window", "windows"]


class Window(NamedTuple):
    """Units ``start`` to ``end`` (exclusive) that are read together, and those among them that it answers for."""

    start: int
    end: int
    first: int
    last: int


def windows(lengths: Sequence[int], room: int, overlap: float) -> list[Window]:
    """Return windows that hold every unit and answer for each exactly once, where most of its surroundings are seen.

    Args:
        lengths: tokens of each unit, at most ``room``.
        room: tokens of a window.
        overlap: share of ``room`` that the next window reads again, below 1.

    >>> windows([1] * 6, 4, 0.5)
    [Window(start=0, end=4, first=0, last=3), Window(start=2, end=6, first=3, last=6)]
    """
    until = [0, *accumulate(lengths)]
    spans: list[tuple[int, int]] = []
    start, count = 0, len(lengths)
    while True:
        end = start
        while end < count and until[end + 1] - until[start] <= room:
            end += 1
        spans.append((start, end))
        if end >= count:
            break
        again = end
        while again - 1 > start and until[end] - until[again - 1] <= overlap * room:
            again -= 1
        start = again
    borders = [0, *((later[0] + before[1]) // 2 for before, later in pairwise(spans)), count]
    return [Window(*span, *own) for span, own in zip(spans, pairwise(borders), strict=True)]
