"""Small values that say how attention divides and what norms multiply by."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["HeadNorms", "Heads", "Norm", "Window"]


@dataclass(frozen=True, slots=True)
class Heads:
    """Query heads, key (and value) heads, and the width of each."""

    queries: int
    keys: int
    width: int

    @property
    def total(self) -> int:
        """Width of queries, keys and values side by side."""
        return (self.queries + 2 * self.keys) * self.width

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views [rows, heads, width] of queries, keys and values in [rows, total]."""
        heads = qkv.view(len(qkv), -1, self.width)
        parts = torch.split(heads, [self.queries, self.keys, self.keys], 1)
        return parts[0], parts[1], parts[2]


@dataclass(frozen=True, slots=True)
class Norm:
    """Weight [width] and eps of a root-mean-square norm."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Norms of each query head and of each key head, before they are rotated."""

    query: Norm
    key: Norm


@dataclass(frozen=True, slots=True)
class Window:
    """Scale of the scores, and how many tokens back a token sees, itself included; None for all."""

    scale: float
    tokens: int | None
