"""What memory depends on beside the model's dimensions."""

import math
from dataclasses import dataclass
from typing import Literal

from medtune.accel.train.padding import HEADROOM, grain_of
from medtune.specs import RunSpec

__all__ = ["DTYPE_BYTES", "SUPERVISED", "Path", "Recompute", "Setting"]

Path = Literal["plain", "fast"]
"""How layers are computed: peft's layers as autograd runs them, or medtune's own pass over them."""
Recompute = Literal["none", "selective", "all", "offload"]

DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
SUPERVISED = 0.5
"""Share of tokens that carry loss, until rows are counted."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A spec and the decisions about it.

    Attributes:
        spec: the run; its quant.scheme is not "auto".
        dtype: compute type, "bf16", "fp16" or "fp32".
        recompute: what the backward pass computes again.
        path: how layers are computed.
        rows: packed rows of a micro-batch.
        eval_batch: prompts generated together at the least; 0 when nothing is scored.
        supervised: share of tokens that carry loss.
        common: share of tokens that the fast path leaves out, since other samples begin with the same.
        sample_tokens: length of the sample that a token lies in, on average over tokens; 0 where rows are not counted.
        on_gpu: whether the device is a GPU.
        big_workspace: whether matrix products reserve what they do from capability 9.0 on.
        bits: of a parameter of a linear layer in a scheme that is not one of medtune's; None for those that are.
        shards: processes over which the layers of the base are sharded; 1 where each holds all of it.
        keeps_dequantized: whether the weights of a 4-bit base stay dequantized while the fast path trains.
    """

    spec: RunSpec
    dtype: str
    recompute: Recompute
    path: Path = "plain"
    rows: int = 1
    eval_batch: int = 0
    supervised: float = SUPERVISED
    common: float = 0.0
    sample_tokens: float = 0.0
    on_gpu: bool = True
    big_workspace: bool = True
    keeps_dequantized: bool = False
    bits: float | None = None
    shards: int = 1

    @property
    def width(self) -> int:
        """Bytes of a value in the compute type."""
        return DTYPE_BYTES[self.dtype]

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch, padding included."""
        return self.rows * self.spec.train.max_length

    @property
    def supervised_tokens(self) -> int:
        """Tokens of a micro-batch that carry loss."""
        return math.ceil(self.tokens * self.supervised)

    def largest_batch(self, width: int) -> tuple[int, int]:
        """Return the tokens, and those that carry loss, of the micro-batch that the fast path takes memory for.

        Args:
            width: of the model's hidden states.
        """
        if not self.on_gpu:
            return self.tokens, self.supervised_tokens
        grain = grain_of(width)
        tokens = grain.tokens(self.tokens)
        wanted = min(tokens, math.ceil(self.supervised_tokens * HEADROOM))
        return tokens, min(tokens, grain.supervised(wanted))
