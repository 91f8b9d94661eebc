"""Small values that the fast path of training and that of decoding both read off a decoder-only model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Heads", "Norm", "reach"]


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


def reach(attention: Any, config: Any) -> int | None:
    """Return how many tokens back a layer sees, None for all: Mistral says so in its config, Qwen for each layer."""
    if hasattr(attention, "sliding_window"):
        tokens = attention.sliding_window
    else:
        tokens = config.sliding_window if config.model_type == "mistral" else None
    return None if tokens is None else int(tokens)
