"""Norms of heads, before they are rotated."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["HeadNorms"]


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Weights [width] of the norms of query and key heads, and their eps."""

    weights: tuple[Tensor, Tensor]
    eps: float
