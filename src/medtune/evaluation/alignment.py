"""Finds a longest common subsequence of two token sequences."""

from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["align", "common_length"]


def align(generated: Sequence[str], given: Sequence[str]) -> list[int | None]:
    """Align generated tokens monotonically with given ones, as many as possible.

    Among the longest alignments the one is taken that uses the earliest generated tokens, each at the earliest place:
    of a line that a model repeats, the first one counts.

    Args:
        generated: tokens that a model wrote.
        given: tokens that it was given.

    Returns:
        For each generated token its index in ``given``, None where it has none; the indices increase.

    >>> align(["a", "x", "c", "c"], ["a", "b", "c"])
    [0, None, 2, None]
    """
    if generated == given:
        return list(range(len(given)))
    places: list[int | None] = [None] * len(generated)
    start = _shared_prefix(generated, given)
    places[:start] = range(start)
    known = set(given[start:])
    candidates = [i for i in range(start, len(generated)) if generated[i] in known]
    rest = given[start:]
    for i, j in _earliest_matches([generated[i] for i in candidates], rest):
        places[candidates[i]] = start + j
    return places


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of a longest common subsequence in O(n m / 64) word operations."""
    masks = _masks(second)
    full = (1 << len(second)) - 1
    row = full
    for token in first:
        row = _advance(row, masks.get(token, 0), full)
    return len(second) - row.bit_count()


def _shared_prefix(first: Sequence[str], second: Sequence[str]) -> int:
    shared = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def _earliest_matches(generated: Sequence[str], given: Sequence[str]) -> list[tuple[int, int]]:
    """Return index pairs of a longest common subsequence, earliest generated tokens first."""
    suffixes = _suffix_rows(generated, given)
    size = len(given)
    places: dict[str, list[int]] = {}
    for j, token in enumerate(given):
        places.setdefault(token, []).append(j)

    def length(i: int, j: int) -> int:
        """Length of the longest common subsequence of generated[i:] and given[j:]."""
        width = size - j
        return width - (suffixes[i] & ((1 << width) - 1)).bit_count()

    pairs: list[tuple[int, int]] = []
    j, left = 0, length(0, 0)
    for i, token in enumerate(generated):
        if not left:
            break
        later = bisect_left(places[token], j)
        if later == len(places[token]):
            continue
        place = places[token][later]
        if 1 + length(i + 1, place + 1) == left:
            pairs.append((i, place))
            j, left = place + 1, left - 1
    return pairs


def _suffix_rows(generated: Sequence[str], given: Sequence[str]) -> list[int]:
    """Return, for each suffix of ``generated``, the bit row of its common subsequences with suffixes of ``given``.

    The rows are those of Hyyrö's bit-parallel algorithm (2004) on the reversed sequences: a zero bit at place p means
    that the length grows there, so the zeros below p count the length for the last p tokens of ``given``.
    """
    masks = _masks(list(reversed(given)))
    full = (1 << len(given)) - 1
    rows = [full]
    for token in reversed(generated):
        rows.append(_advance(rows[-1], masks.get(token, 0), full))
    rows.reverse()
    return rows


def _masks(tokens: Sequence[str]) -> dict[str, int]:
    masks: dict[str, int] = {}
    for place, token in enumerate(tokens):
        masks[token] = masks.get(token, 0) | 1 << place
    return masks


def _advance(row: int, mask: int, full: int) -> int:
    matched = row & mask
    return ((row + matched) | (row - matched)) & full
