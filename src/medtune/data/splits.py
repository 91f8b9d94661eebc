"""Draws rows evenly by source: never the head of a set, which may be one task only."""

import hashlib
import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace

from medtune.plugins.contracts import Example

__all__ = ["HoldOut", "SmallSources", "document_of", "draw_evenly", "repeated", "sample_by_source"]

_LEAST = 1e-9
"""Share below which no set is long enough to give a row; its reciprocal would overflow."""


def document_of(example: Example) -> tuple[str, str] | None:
    """Return the document with the member of the mix it belongs to: two sets may number their patients alike.

    None for a row that names none.
    """
    if not example.document:
        return None
    member, slash, _rest = example.row_id.partition("/")
    return (member if slash and member.startswith("mix") else "", example.document)


class HoldOut:
    """Says which rows are held out: the same share of every source, one drawn from each run of 1 / share rows.

    Rows of one document go the same way, whatever their sources, so that nothing of a held-out text is trained on.

    Args:
        fraction: share of each source.
        seed: of the draws.
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._fraction, self._seed = fraction, seed
        self._seen: Counter[str] = Counter()
        self._next: dict[str, tuple[int, int]] = {}  # source -> current run, position drawn from it
        self._documents: dict[Hashable, bool] = {}

    @property
    def takes_any(self) -> bool:
        """Whether anything is held out at all."""
        return self._fraction >= _LEAST

    def takes(self, source: str, document: Hashable = None) -> bool:
        """Say whether the next row of ``source`` is held out; the first row of a document decides for all of them."""
        if not document:
            return self._draws(source)
        if document not in self._documents:
            self._documents[document] = self._draws(source)
        return self._documents[document]

    def _draws(self, source: str) -> bool:
        if not self.takes_any:
            return False
        position = self._seen[source]
        self._seen[source] += 1
        run = math.floor((position + 0.5) * self._fraction)  # the half keeps rounding errors away from the borders
        if self._next.get(source, (-1, 0))[0] != run:
            first = math.ceil(run / self._fraction - 0.5)
            beyond = max(first + 1, math.ceil((run + 1) / self._fraction - 0.5))
            draw = random.Random(f"{self._seed} {source} {run}").random()
            self._next[source] = (run, first + int(draw * (beyond - first)))
        return position == self._next[source][1]


class SmallSources:
    """Finds, for each source of which nothing was held out, the row or document to hold out nevertheless.

    The one of lowest rank is taken, of sources that have another: one example or document per source is in memory. A
    document with rows of several sources is left alone: those of the others are trained on.

    Args:
        seed: of the ranks.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._done: set[str] = set()
        self._kept: dict[str, tuple[int, str, list[Example]]] = {}
        self._several: set[str] = set()
        self._of: dict[Hashable, str] = {}
        self._shared: set[Hashable] = set()

    def note(self, example: Example, *, held_out: bool) -> None:
        """Take a row of the source down, which the draws held out or not."""
        source, document = example.source, document_of(example)
        if document is not None and self._of.setdefault(document, source) != source:
            self._shared.add(document)
        if source in self._done:
            return
        if held_out:
            self._done.add(source)
            self._kept.pop(source, None)
            self._several.discard(source)
            return
        unit = f"document {example.document}" if example.document else example.row_id
        kept = self._kept.get(source)
        if kept is not None and kept[1] == unit:
            kept[2].append(example)
            return
        if kept is not None:
            self._several.add(source)
        rank = _rank(self._seed, unit)
        if kept is None or rank < kept[0]:
            self._kept[source] = (rank, unit, [example])

    def examples(self) -> list[Example]:
        """Return the examples to hold out, by source."""
        kept = [self._kept[source][2] for source in sorted(self._several)]
        return [example for rows in kept if document_of(rows[0]) not in self._shared for example in rows]


def sample_by_source(examples: Iterable[Example], per_source: int, seed: int) -> list[Example]:
    """Draw up to ``per_source`` examples of each source, whatever their order, in bounded memory.

    Returns:
        The examples by source name, within a source in a seeded order.
    """
    drawn = _Drawn(seed)
    for example in examples:
        drawn.add(example)
        drawn.shrink(example.source, per_source)
    return drawn.examples()


def draw_evenly(examples: Iterable[Example], total: int, seed: int) -> list[Example]:
    """Draw ``total`` examples, equally many of each source, keeping no more than that in memory.

    What a small source cannot give goes to the others.

    Returns:
        The examples by source name, within a source in a seeded order.
    """
    drawn = _Drawn(seed)
    for number, example in enumerate(examples):
        drawn.add(example)
        if number >= total:  # taking from the largest source, each time, ends in even shares
            drawn.shrink_largest()
    return drawn.examples()


def repeated(examples: Iterable[Example], weight: float, seed: int) -> Iterator[Example]:
    """Yield each example ``weight`` times on average: the whole part always, the fraction for rows drawn by the seed.

    Copies get ids of their own. Whether a row is drawn depends on its id and the seed alone.
    """
    whole, part = int(weight), weight % 1
    threshold = int(part * 2**64)
    for example in examples:
        times = whole + (1 if part and _rank(seed, f"weight {example.row_id}") < threshold else 0)
        if times:
            yield example
        for copy in range(2, times + 1):
            yield replace(example, row_id=f"{example.row_id}#{copy}")


class _Drawn:
    """Keeps the examples of lowest rank of each source; ranks are drawn by the seed."""

    def __init__(self, seed: int) -> None:
        self._seed, self._count = seed, 0
        self._kept: dict[str, list[tuple[int, int, Example]]] = defaultdict(list)

    def add(self, example: Example) -> None:
        self._count += 1  # decides between equal ranks, so that examples are never compared
        heapq.heappush(self._kept[example.source], (-_rank(self._seed, example.row_id), -self._count, example))

    def shrink(self, source: str, size: int) -> None:
        if len(self._kept[source]) > size:
            heapq.heappop(self._kept[source])

    def shrink_largest(self) -> None:
        largest = max(self._kept, key=lambda source: (len(self._kept[source]), source))
        heapq.heappop(self._kept[largest])

    def examples(self) -> list[Example]:
        return [
            example for source in sorted(self._kept) for _rank, _n, example in sorted(self._kept[source], reverse=True)
        ]


def _rank(seed: int, row_id: str) -> int:
    digest = hashlib.blake2b(f"{seed} {row_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
