"""Counts the tokens that all processes of a run have trained on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from accelerate.utils import gather_object

__all__ = ["TokenCounts"]


class TokenCounts:
    """Tokens since the run began: at the first process those of all, as of the last ``gather``; at others what it has not heard of.

    Attributes:
        tokens: without padding.
        supervised: those with loss.
        by_source: source -> those with loss.
    """

    def __init__(self) -> None:
        self._clear()

    def add(self, batches: Sequence[dict[str, Any]]) -> tuple[int, Counter[str]]:
        """Take the counts out of the micro-batches of an update; return its supervised tokens, and those of each source."""
        by_source = Counter[str]()
        for batch in batches:
            by_source.update(batch.pop("supervised_by_source"))
        supervised = sum(batch.pop("supervised") for batch in batches)
        self._add(sum(batch.pop("tokens") for batch in batches), supervised, by_source)
        return supervised, by_source

    def gather(self, world_size: int, *, first: bool) -> None:
        """Bring the counts of all processes to the first one; all processes call it."""
        if world_size == 1:
            return
        told: list[tuple[int, int, dict[str, int]]] = gather_object(
            [(self.tokens, self.supervised, dict(self.by_source))]
        )
        self._clear()
        for counts in told if first else ():
            self._add(*counts)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        named = dict(self.by_source)
        return {"tokens": self.tokens, "supervised": self.supervised, "supervised_by_source": named}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``to_json`` returned."""
        self._clear()
        self._add(saved["tokens"], saved["supervised"], saved["supervised_by_source"])

    def _clear(self) -> None:
        self.tokens = self.supervised = 0
        self.by_source = Counter[str]()

    def _add(self, tokens: int, supervised: int, by_source: Mapping[str, int]) -> None:
        self.tokens += tokens
        self.supervised += supervised
        self.by_source.update(by_source)
