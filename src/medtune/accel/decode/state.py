"""What the device knows of the sequences in its slots: their last token, how far they are, whether they go on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Admitted", "DecodeState"]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Sequences that enter: their slots, prompt lengths, limits and first answer tokens, aligned."""

    slots: Sequence[int]
    lengths: Sequence[int]
    limits: Sequence[int]
    first: Tensor


class DecodeState:
    """Tensors of one row per slot, changed on the device only, so that no step waits for the host.

    Args:
        slots: number of rows.
        longest: most answer tokens of any sequence.
        stop_ids: ids that end an answer.
        device: where the rows are.
    """

    def __init__(self, slots: int, longest: int, stop_ids: Sequence[int], device: torch.device) -> None:
        self._device, self._longest = device, longest
        self.tokens = torch.zeros(slots, dtype=torch.int64, device=device)
        self.lengths = torch.zeros(slots, dtype=torch.int32, device=device)
        self._limits = torch.zeros(slots, dtype=torch.int64, device=device)
        self._produced = torch.zeros(slots, dtype=torch.int64, device=device)
        self._goes_on = torch.zeros(slots, dtype=torch.bool, device=device)
        # One column more than an answer has: rows that are done write there.
        self._answers = torch.zeros(slots, longest + 1, dtype=torch.int64, device=device)
        self._stops = self._tensor(stop_ids)

    def admit(self, new: Admitted) -> None:
        """Put sequences into their slots; their prompts are in the cache and their first answer tokens chosen."""
        slots, limits = self._tensor(new.slots), self._tensor(new.limits)
        goes_on = ~self._is_stop(new.first) & (limits > 1)
        self.tokens[slots] = new.first
        self.lengths[slots] = (self._tensor(new.lengths) * goes_on).to(torch.int32)
        self._limits[slots] = limits
        self._produced[slots] = 1
        self._goes_on[slots] = goes_on
        self._answers[slots, 0] = new.first

    def advance(self, chosen: Tensor) -> None:
        """Note one more token of each of the first ``len(chosen)`` rows; rows that are done stay as they are."""
        rows = len(chosen)
        goes_on, produced, lengths = self._goes_on[:rows], self._produced[:rows], self.lengths[:rows]
        column = torch.where(goes_on, produced, self._longest)
        self._answers[:rows].scatter_(1, column[:, None], chosen[:, None])
        produced += goes_on
        goes_on &= ~self._is_stop(chosen) & (produced < self._limits[:rows])
        lengths += 1
        lengths *= goes_on  # 0 keeps attention from reading the slot of a sequence that is done
        self.tokens[:rows] = chosen

    def advance_drafted(self, chosen: Tensor, drafted: Tensor, counts: Tensor) -> Tensor:
        """Note what a pass over drafted tokens found: those that the model chose too, and the one that it chose after them.

        Args:
            chosen: [rows, width] int64, the model's choice after the last token and after each drafted one.
            drafted: [rows, width - 1] int64.
            counts: [rows] int64, how many of them are there.

        Returns:
            [rows] int64, how many of ``chosen`` belong to the answer; 0 for rows that are done.
        """
        rows, width = chosen.shape
        goes_on, produced, lengths = self._goes_on[:rows], self._produced[:rows], self.lengths[:rows]
        step = torch.arange(width, device=chosen.device)
        right = (chosen[:, :-1] == drafted) & (step[:-1] < counts[:, None])
        stops = self._is_stop(chosen.flatten()).view(rows, width)
        goes_on_after = right & ~stops[:, :-1]
        gained = 1 + goes_on_after.long().cumprod(1).sum(1)
        gained = torch.minimum(gained, self._limits[:rows] - produced) * goes_on
        column = torch.where(step < gained[:, None], produced[:, None] + step, self._longest)
        self._answers[:rows].scatter_(1, column, chosen)
        last = (gained - 1).clamp(min=0)[:, None]
        produced += gained
        goes_on &= ~stops.gather(1, last)[:, 0] & (produced < self._limits[:rows])
        lengths += gained
        lengths *= goes_on
        self.tokens[:rows] = chosen.gather(1, last)[:, 0]
        return gained

    def move(self, source: int, target: int) -> None:
        """Move a sequence into another slot; its own is free afterwards."""
        for tensor in (self.tokens, self.lengths, self._limits, self._produced, self._goes_on, self._answers):
            tensor[target] = tensor[source]
        self._goes_on[source] = False
        self.lengths[source] = 0

    def end(self, slots: Sequence[int]) -> None:
        """Leave sequences off; their slots are free afterwards."""
        if slots:
            chosen = self._tensor(slots)
            self._goes_on[chosen] = False
            self.lengths[chosen] = 0

    def going_on(self) -> list[bool]:
        """Return which rows go on; waits for the device."""
        flags: list[bool] = self._goes_on.tolist()
        return flags

    def answers(self, slots: Sequence[int]) -> list[list[int]]:
        """Return the answers in slots, stop ids included; waits for the device."""
        if not slots:
            return []
        chosen = self._tensor(slots)
        produced = self._produced[chosen].tolist()
        rows = self._answers[chosen, : max(produced)].tolist()
        return [row[:count] for row, count in zip(rows, produced, strict=True)]

    def _is_stop(self, ids: Tensor) -> Tensor:
        return (ids[:, None] == self._stops).any(1)

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.int64).to(self._device)
