"""Draws dropout masks that can be drawn again: a hash of seed, row and column, the same on every device."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dropout", "DropoutSeeds", "keep_mask"]

_WORD, _HALF = 0xFFFFFFFF, 0xFFFF
_COLUMN_STEP = 0x9E3779B1
_MIX_1, _MIX_2 = 0x85EBCA6B, 0xC2B2AE35  # the finaliser of MurmurHash3, which passes avalanche tests
_SHARED = 2
"""Adapters that one word serves: each compares a half of it."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of the inputs of a group's adapters, each adapter with a mask of its own.

    Attributes:
        probability: of dropping an input; rounded to a multiple of 2**-16.
        step_seed: int64 [1], drawn anew for every micro-batch; on the device, so that a captured pass can be launched again.
        members: adapters in the group.
        seeds: one for every two of them.
        first_row: number of the first row, when a part of the rows is worked on.
    """

    probability: float
    step_seed: Tensor
    members: int
    seeds: tuple[int, ...]
    first_row: int = 0

    @property
    def threshold(self) -> int:
        """Half words below it are dropped, out of 2**16."""
        return min(round(self.probability * (_HALF + 1)), _HALF)

    @property
    def factor(self) -> float:
        """What kept inputs are multiplied by, so that the mean stays."""
        return 1.0 / (1.0 - self.threshold / (_HALF + 1))


@dataclass(frozen=True, slots=True)
class DropoutSeeds:
    """The dropout of one micro-batch: hands each group its masks."""

    probability: float
    step_seed: Tensor

    def of(self, group: int, members: int, first_row: int = 0) -> Dropout | None:
        """Return the dropout of a group, None where nothing is dropped.

        Args:
            group: number of the group within the model.
            members: adapters in the group.
            first_row: number of the first row that is worked on.
        """
        if self.probability == 0.0:
            return None
        count = -(-members // _SHARED)
        seeds = tuple(_mix_number(_mix_number(8 * group + number) ^ _COLUMN_STEP) >> 1 for number in range(count))
        return Dropout(self.probability, self.step_seed, members, seeds, first_row)


def keep_mask(dropout: Dropout, member: int, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return the mask [rows, columns] of the inputs that ``member`` keeps.

    Rows and columns are mixed thoroughly, which costs little, and their sums once more, which each input pays.
    """
    rows = torch.arange(dropout.first_row, dropout.first_row + shape[0], dtype=torch.int64, device=device)
    columns = _mix(torch.arange(shape[1], dtype=torch.int64, device=device) ^ _COLUMN_STEP)
    keys = _mix(_mix(rows ^ dropout.step_seed) ^ dropout.seeds[member // _SHARED])
    words = ((keys[:, None] + columns) * _MIX_1) & _WORD
    words = ((words ^ (words >> 15)) * _MIX_2) & _WORD
    return ((words >> 16) if member % _SHARED else (words & _HALF)) >= dropout.threshold


def _mix(value: Tensor) -> Tensor:
    """Mix 32-bit words held in int64; products wrap, and their low 32 bits are right."""
    value = value ^ (value >> 16)
    value = (value * _MIX_1) & _WORD
    value = value ^ (value >> 13)
    value = (value * _MIX_2) & _WORD
    return value ^ (value >> 16)


def _mix_number(value: int) -> int:
    value ^= value >> 16
    value = (value * _MIX_1) & _WORD
    value ^= value >> 13
    value = (value * _MIX_2) & _WORD
    return value ^ (value >> 16)
