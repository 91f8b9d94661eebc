"""Says how the joint product of queries, keys and values divides into heads."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["HeadNorms", "Heads"]


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

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views [rows, heads, width] of queries, keys and values in [rows, total]."""
        heads = qkv.view(qkv.shape[0], -1, self.width)
        last = self.queries + self.keys
        return heads[:, : self.queries], heads[:, self.queries : last], heads[:, last:]


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Weights [width] of the norms of query and key heads, and their eps."""

    weights: tuple[Tensor, Tensor]
    eps: float
