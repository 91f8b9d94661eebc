"""Small values that the fast path of training and that of decoding both read off a decoder-only model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HeadNorms", "Heads", "Norm", "Window"]


@dataclass(frozen=True, slots=True)
class Heads:
    """Number of query heads, of key (and value) heads, and the width of each."""

    queries: int
    keys: int
    width: int

    @property
    def total(self) -> int:
        """Width of queries, keys and values side by side."""
        return (self.queries + 2 * self.keys) * self.width

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Columns where queries, keys and values begin, and the end."""
        first = self.queries * self.width
        return 0, first, first + self.keys * self.width, self.total

    def split(self, qkv: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """Return views [rows, heads, width] of queries, keys and values in [rows, total]."""
        heads = qkv.view(qkv.shape[0], -1, self.width)
        last = self.queries + self.keys
        return heads[:, : self.queries], heads[:, self.queries : last], heads[:, last:]


@dataclass(frozen=True, slots=True)
class Norm:
    """Weight [width] and eps of a root-mean-square norm."""

    weight: "Tensor"
    eps: float


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Norms of each query head and of each key head, before they are rotated."""

    query: Norm
    key: Norm

    @property
    def eps(self) -> float:
        """The eps of both, which the reader demands to be the same."""
        return self.query.eps

    @property
    def weights(self) -> "tuple[Tensor, Tensor]":
        """The weights of both, each [width]."""
        return self.query.weight, self.key.weight


@dataclass(frozen=True, slots=True)
class Window:
    """Scale of the scores, and how many tokens back a token sees, itself included; None for all of its sample."""

    scale: float
    tokens: int | None
