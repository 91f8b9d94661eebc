"""How the Triton kernels take thin dot products: padded ranks and their precision."""

from torch import Tensor, float32

__all__ = ["SMALLEST_DOT", "padded_rank", "precision"]

SMALLEST_DOT = 16
"""Triton multiplies tiles of this side at least."""


def padded_rank(rank: int) -> int:
    """Return the side of the tile that holds ``rank``: a power of two."""
    return max(SMALLEST_DOT, 1 << (rank - 1).bit_length() if rank else 1)


def precision(x: Tensor) -> str:
    """Return how dot products treat fp32: exactly, as the equality with eager peft demands."""
    return "ieee" if x.dtype == float32 else "tf32"
