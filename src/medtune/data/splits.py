"""Draws rows evenly by source: never the head of a set, which may be one task only."""

import hashlib
import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Iterable

from medtune.plugins.contracts import Example

__all__ = ["HoldOut", "sample_by_source", "share_evenly"]


class HoldOut:
    """Says which rows are held out: the same share of every source, spread over it, the same for the same seed.

    Args:
        fraction: share of each source.
        seed: decides where the counting begins within each source.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._fraction, self._seed = fraction, seed
        self._seen: Counter[str] = Counter()

    def takes(self, source: str) -> bool:
        """Say whether the next row of ``source`` is held out."""
        position = self._seen[source]
        self._seen[source] += 1
        start = random.Random(f"{self._seed} {source}").random()
        return int((position + 1) * self._fraction + start) > int(position * self._fraction + start)


def sample_by_source(examples: Iterable[Example], per_source: int, seed: int) -> list[Example]:
    """Draw up to ``per_source`` examples of each source, whatever their order, in bounded memory.

    Returns:
        The examples by source name, within a source in a seeded order.
    """
    kept: dict[str, list[tuple[int, int, Example]]] = defaultdict(list)
    for number, example in enumerate(examples):
        heap, key = kept[example.source], -_rank(seed, example.row_id)
        if len(heap) < per_source:
            heapq.heappush(heap, (key, number, example))
        elif key > heap[0][0]:
            heapq.heapreplace(heap, (key, number, example))
    return [example for source in sorted(kept) for _key, _n, example in sorted(kept[source], reverse=True)]


def share_evenly(available: dict[str, int], total: int) -> dict[str, int]:
    """Share ``total`` over sources evenly; what a small source cannot give goes to the others."""
    shares: dict[str, int] = {}
    smallest_first = sorted(available, key=lambda source: (available[source], source))
    for number, source in enumerate(smallest_first):
        shares[source] = min(available[source], total // (len(available) - number))
        total -= shares[source]
    return shares


def _rank(seed: int, row_id: str) -> int:
    digest = hashlib.blake2b(f"{seed} {row_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
