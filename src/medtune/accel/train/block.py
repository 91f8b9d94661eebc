"""A decoder block: its two halves, and what is kept of them between the passes."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from medtune.accel.train.attention_half import AttentionHalf, AttentionTrace
from medtune.accel.train.mlp_half import MlpHalf, MlpTrace
from medtune.accel.train.step_context import Pending, StepContext

__all__ = ["Block", "Keep", "Trace"]

Keep = Literal["everything", "narrow", "input"]
"""What a block keeps: all its backward pass needs, all but the wide values inside its MLP, or its input, beside which
the MLP's low-rank values are thin and would demand a pass over the wide values."""


@dataclass(slots=True)
class Trace:
    """What a block keeps for its backward pass; ``x`` is None while it lies elsewhere.

    ``low_down`` are the low-rank values that the MLP's trace would hold, where that is computed again.
    """

    x: Tensor | None
    low_down: Tensor | None = None
    attention: AttentionTrace | None = None
    mlp: MlpTrace | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A decoder block."""

    attention: AttentionHalf
    mlp: MlpHalf

    def forward(
        self, x: Tensor, pending: Pending | None, step: StepContext, keep: Keep, rows: Tensor | None
    ) -> tuple[Tensor, Pending, Trace]:
        """Run the block.

        Args:
            x: [tokens, width] residual stream.
            pending: what is still to be added to it.
            step: what all blocks share in this pass.
            keep: what the trace holds.
            rows: tokens whose result is wanted, None for all.

        Returns:
            Residual stream [rows, width], what is still to be added to it, and the trace.
        """
        residual, out, attention = self.attention.forward(x, pending, step, rows)
        residual, out, mlp = self.mlp.forward(residual, out, step.of_rows(rows), keep_wide=keep == "everything")
        trace = Trace(attention.x, mlp.low_down)
        if keep != "input":
            trace.attention, trace.mlp = attention, mlp
        return residual, out, trace

    def backward(
        self, gradient: Tensor, trace: Trace, step: StepContext, rows: Tensor | None, *, to_input: bool
    ) -> Tensor | None:
        """Add the adapters' gradients and return that of the block's input.

        Args:
            gradient: [rows, width] of the block's output.
            trace: from ``forward``; emptied.
            step: as in ``forward``, with the same batch and seeds.
            rows: as in ``forward``.
            to_input: whether the gradient of the input is wanted.
        """
        attention, mlp = trace.attention, trace.mlp
        trace.attention = trace.mlp = None
        if attention is None or mlp is None:
            if trace.x is None:
                raise RuntimeError("the fast path's backward pass can run only once")
            residual, out, attention = self.attention.forward(trace.x, None, step, rows)
            mlp = self.mlp.again(residual, out, trace.low_down, step.of_rows(rows))
            del residual, out
        trace.x = trace.low_down = None
        gradient = self.mlp.backward(gradient, mlp, step.of_rows(rows))
        del mlp
        return self.attention.backward(gradient, attention, step, rows, to_input=to_input)
