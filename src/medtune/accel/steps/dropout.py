"""Draws dropout masks that can be drawn again: a hash of update, token, adapter and column, the same on every device.

Of a token counts what it is in its sample: itself and all tokens before it. So a mask does not depend on which rows are passed
together, in what order, by which process, or whether they are packed.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Dropout", "DropoutKeys", "keep_mask", "token_keys", "update_seed"]

_WORD, _HALF = 0xFFFFFFFF, 0xFFFF
_COLUMN_STEP = 0x9E3779B1
_MIX_1, _MIX_2 = 0x85EBCA6B, 0xC2B2AE35  # the finaliser of MurmurHash3, which passes avalanche tests
_SHARED = 2
"""Adapters that one word serves: each compares a half of it."""
_AT_ONCE = 1 << 18
"""Words that are drawn at once on a CPU: they stay in its caches."""


@dataclass(frozen=True, slots=True)
class Dropout:
    """Dropout of the inputs of a group's adapters, each adapter with a mask of its own.

    Attributes:
        probability: of dropping an input; rounded to a multiple of 2**-16.
        keys: int32 [rows or more], from ``DropoutKeys``; on the device, so that a captured pass can be launched again.
        members: adapters in the group.
        seeds: one for every two of them.
    """

    probability: float
    keys: Tensor
    members: int
    seeds: tuple[int, ...]

    @property
    def threshold(self) -> int:
        """Half words below it are dropped, out of 2**16."""
        return min(round(self.probability * (_HALF + 1)), _HALF)

    @property
    def factor(self) -> float:
        """What kept inputs are multiplied by, so that the mean stays."""
        return 1.0 / (1.0 - self.threshold / (_HALF + 1))


@dataclass(frozen=True, slots=True)
class DropoutKeys:
    """The dropout of some tokens: hands each group its masks.

    Attributes:
        probability: of dropping an input.
        keys: int32 [tokens], of each token in this update.
    """

    probability: float
    keys: Tensor

    @classmethod
    def drawn(cls, probability: float, tokens: Tensor, seed: Tensor | int) -> "DropoutKeys":
        """Return the dropout of an update.

        Args:
            probability: of dropping an input.
            tokens: int32 [tokens], from ``token_keys``.
            seed: from ``update_seed``, as a number or as int64 [1].
        """
        return cls(probability, _mix((tokens.to(torch.int64) & _WORD) ^ seed).to(torch.int32))

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
        seeds = tuple(_mix(_mix(8 * group + number) ^ _COLUMN_STEP) >> 1 for number in range(count))
        return Dropout(self.probability, self.keys[first_row:] if first_row else self.keys, members, seeds)

    def picked(self, rows: Tensor) -> "DropoutKeys":
        """Return the dropout of some of the tokens."""
        return self if self.probability == 0.0 else DropoutKeys(self.probability, self.keys.index_select(0, rows))


def update_seed(seed: int, update: int) -> int:
    """Return what the masks of an update are drawn by, 32 bits.

    Args:
        seed: of the run.
        update: its number.
    """
    return int(_mix(_mix(seed & _WORD) ^ (update * _COLUMN_STEP & _WORD)))


def token_keys(ids: Any, begins: Any, places: Any) -> Any:
    """Return a number for each token that depends on it and on those before it in its sample; 32 bits in int64.

    Args:
        ids: int64 [tokens], an array of numpy or a tensor of torch, as are the others.
        begins: int64 [tokens], where each token's sample begins.
        places: int64 [tokens], 0, 1, 2, ...
    """
    words = _mix((_mix(ids & _WORD) + (places - begins) * _COLUMN_STEP) & _WORD)
    sums = words.cumsum(0)
    return _mix((sums - (sums - words)[begins]) & _WORD)


def keep_mask(dropout: Dropout, member: int, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return the mask [rows, columns] of the inputs that ``member`` keeps.

    Rows and columns are mixed thoroughly, which costs little, and their sums once more, which each input pays.
    """
    rows, width = shape
    seed = dropout.seeds[member // _SHARED]
    keys = _mix((dropout.keys[:rows].to(torch.int64) & _WORD) ^ seed).to(torch.int32)
    columns = _mix(torch.arange(width, dtype=torch.int64, device=device) ^ _COLUMN_STEP).to(torch.int32)
    if keys.is_cuda:
        return _kept(keys, columns, dropout.threshold, member)
    mask = torch.empty(rows, width, dtype=torch.bool)
    for part, own in zip(torch.split(mask, _rows(width)), torch.split(keys, _rows(width)), strict=True):
        part.copy_(_kept(own, columns, dropout.threshold, member))
    return mask


def _rows(width: int) -> int:
    return max(1, _AT_ONCE // width)


def _kept(keys: Tensor, columns: Tensor, threshold: int, member: int) -> Tensor:
    """Return the mask of a tile, in place but for two of its size; 32-bit products wrap, and shifts copy a sign that is cut off."""
    words = (keys[:, None] + columns).mul_(_signed(_MIX_1))
    words = words.bitwise_xor_((words >> 15).bitwise_and_(_WORD >> 15)).mul_(_signed(_MIX_2))
    half = (words >> 16 if member % _SHARED else words).bitwise_and_(_HALF)
    return half >= threshold


def _signed(word: int) -> int:
    return word - (_WORD + 1) if word > _WORD >> 1 else word


def _mix(value: Any) -> Any:
    """Mix 32-bit words, in int64 where they are many; products wrap, and their low 32 bits are right."""
    value = value ^ (value >> 16)
    value = (value * _MIX_1) & _WORD
    value = value ^ (value >> 13)
    value = (value * _MIX_2) & _WORD
    return value ^ (value >> 16)
