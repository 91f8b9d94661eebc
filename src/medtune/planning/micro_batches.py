"""Which rows may be computed together."""

__all__ = ["SEVERAL_MAY_SPLIT", "divisors"]

SEVERAL_MAY_SPLIT = False
"""Whether several processes may take the rows of an update in other micro-batches than the spec says."""
_MOST_TOKENS = 16_384
"""Tokens of a micro-batch beyond which a GPU gets no faster."""


def divisors(rows: int, length: int) -> list[int]:
    """Return the rows that a micro-batch may have, so that whole ones make up ``rows``, and a GPU gets faster by it.

    >>> divisors(12, 4096)
    [1, 2, 3, 4]
    """
    most = max(_MOST_TOKENS // length, 1)
    return [count for count in range(1, min(rows, most) + 1) if rows % count == 0]
