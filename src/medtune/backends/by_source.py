"""Sums the training loss by source, on the device: it is read only when a record is logged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather_object

__all__ = ["SourceLosses"]

_DIGITS = 6  # summation on a GPU has no fixed order; the digits that it changes are left out


class SourceLosses:
    """Losses and supervised tokens of each source since the last record.

    An update that is refused is taken back, and so is an attempt at a micro-batch that ran out of memory.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        """Source -> its place in the sums, in the order of appearance."""
        self._sums = torch.zeros(0, dtype=torch.float64)
        self._counts: dict[str, int] = {}
        self._before: tuple[Any, Mapping[str, int]] = (self._sums, {})
        self._notes: list[tuple[Any, Any, int]] = []

    def number_of(self, source: str) -> int:
        """Return the place of a source in the sums."""
        return self.numbers.setdefault(source, len(self.numbers))

    def begin_update(self, counts: Mapping[str, int], device: Any) -> None:
        """Remember the sums before an update whose sources have so many supervised tokens."""
        more = len(self.numbers) - len(self._sums)
        if more or self._sums.device != device:  # else nothing travels, and nobody waits
            blank = torch.zeros(more, dtype=torch.float64)
            self._sums = torch.cat([self._sums, blank.to(self._sums.device)]).to(device)
        self._before = self._sums.clone(), counts
        for source, count in counts.items():
            self._counts[source] = self._counts.get(source, 0) + count

    def forget_update(self) -> None:
        """Go back to what was there before the update."""
        self._sums, counts = self._before
        self._uncount(counts)

    def forget_update_if(self, bad: Any) -> Callable[[], None]:
        """Go back on the device if ``bad`` [] is not 0 there; return what does so with the host's counts."""
        before, counts = self._before
        self._sums = torch.where(bad > 0, before, self._sums)
        return lambda: self._uncount(counts)

    def note(self, losses: Any, numbers: Any, rows: int) -> None:
        """Remember the losses of a pass over some rows.

        Args:
            losses: fp32 [supervised or more], on the device; what exceeds ``numbers`` is padding.
            numbers: int64 [supervised], the place of each token's source.
            rows: rows of the pass.
        """
        self._notes.append((losses, numbers, rows))

    def keep_last(self, rows: int) -> None:
        """Add up the last passes, which cover a micro-batch of that many rows; earlier ones were in vain."""
        while rows > 0 and self._notes:
            losses, numbers, passed = self._notes.pop()
            self._sums.index_add_(0, numbers, losses[: len(numbers)].double())
            rows -= passed
        self._notes.clear()

    def gather(self, world_size: int, *, first: bool) -> None:
        """Bring the sums of all processes to the first one; all processes call it."""
        if world_size == 1:
            return
        told: Sequence[tuple[dict[str, float], dict[str, int]]] = gather_object([(self._named(), self._counts)])
        self._clear()
        if first:
            for losses, counts in told:
                self._add(losses, counts)

    def means(self) -> dict[str, float]:
        """Return source -> mean loss per supervised token in nats, and begin anew; waits for the device."""
        losses, counts = self._named(), self._counts
        self._clear()
        return {name: float(f"{losses[name] / counts[name]:.{_DIGITS}g}") for name in sorted(counts) if counts[name]}

    def to_json(self) -> dict[str, Any]:
        """Return the sums as JSON values; waits for the device."""
        return {"losses": self._named(), "counts": dict(self._counts)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``to_json`` returned."""
        self._clear()
        self._add(saved["losses"], saved["counts"])

    def _named(self) -> dict[str, float]:
        values = self._sums.tolist()
        return {name: values[place] for name, place in self.numbers.items() if place < len(values)}

    def _uncount(self, counts: Mapping[str, int]) -> None:
        left = {name: count - counts.get(name, 0) for name, count in self._counts.items()}
        self._counts = {name: count for name, count in left.items() if count}

    def _clear(self) -> None:
        self._sums, self._counts = self._sums.new_zeros(len(self.numbers)), {}

    def _add(self, losses: Mapping[str, float], counts: Mapping[str, int]) -> None:
        places = [self.number_of(name) for name in losses]
        sums = torch.zeros(len(self.numbers), dtype=torch.float64)
        sums[: len(self._sums)] = self._sums.cpu()
        for place, loss in zip(places, losses.values(), strict=True):
            sums[place] += loss
        self._sums = sums
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count
