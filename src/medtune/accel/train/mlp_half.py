"""The gated MLP half of a decoder block, forward and backward by hand, in parts where memory is short."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medtune.accel.model.heads import Norm
from medtune.accel.steps.gate import BeforeGate
from medtune.accel.train.frozen import Frozen
from medtune.accel.train.step_context import Pending, StepContext

__all__ = ["MlpHalf", "MlpTrace"]


@dataclass(slots=True)
class MlpTrace:
    """What the backward pass needs; without ``gate_up`` what lies between the two products is computed again.

    ``first_row`` is the number of its first row, where it is a part of the rows.
    """

    x: Tensor
    scale: Tensor
    low_down: Tensor | None = None
    gate_up: Tensor | None = None
    low_gate_up: Tensor | None = None
    first_row: int = 0


@dataclass(frozen=True, slots=True)
class MlpHalf:
    """Norm, gate and up, activation, down.

    Attributes:
        norm: before the half.
        gate_up: joint frozen weights.
        down: frozen weights of the output.
        gate_up_group: number of the adapters of ``gate_up``, None for none.
        down_group: number of the adapter of ``down``, None for none.
    """

    norm: Norm
    gate_up: Frozen
    down: Frozen
    gate_up_group: int | None
    down_group: int | None

    def forward(
        self, x: Tensor, pending: Pending, step: StepContext, *, keep_wide: bool
    ) -> tuple[Tensor, Pending, MlpTrace]:
        """Run the half.

        Args:
            x: [rows, width] residual stream.
            pending: what is still to be added to it.
            step: what all blocks share in this pass.
            keep_wide: whether the values between the two products are kept.

        Returns:
            Residual stream [rows, width], what is still to be added to it, and the trace.
        """
        x, normed, scale = step.normalise(x, pending, self.norm)
        trace = MlpTrace(x, scale)
        wide, down = step.group(self.gate_up_group), step.group(self.down_group)
        parts: list[Pending] = []
        for start, end in step.parts(x.shape[0]):
            chunk = normed[start:end]
            gate_up = self.gate_up.product(chunk)
            before = step.before_gate(chunk, wide, start)
            hidden, low = step.steps.swiglu(gate_up, before, step.after_gate(down, start))
            if keep_wide:
                trace.gate_up, trace.low_gate_up = gate_up, None if before is None else before.low
            del gate_up
            parts.append(Pending(self.down.product(hidden), None if down is None or low is None else (low, down.up)))
        out = _joined(parts)
        trace.low_down = None if out.adapter is None else out.adapter[0]  # thin: kept in any case
        return x, out, trace

    def again(self, x: Tensor, pending: Pending, low_down: Tensor | None, step: StepContext) -> MlpTrace:
        """Return the trace that ``forward`` would keep without the wide values, of which it kept ``low_down``."""
        x, _normed, scale = step.normalise(x, pending, self.norm)
        return MlpTrace(x, scale, low_down)

    def backward(self, gradient: Tensor, kept: MlpTrace, step: StepContext) -> Tensor:
        """Add the adapters' gradients and turn ``gradient`` into that of the half's input, residual included."""
        if kept.gate_up is not None:
            return self._backward_part(gradient, kept, step)
        for start, end in step.parts(gradient.shape[0]):
            low = None if kept.low_down is None else kept.low_down[start:end]
            part = MlpTrace(kept.x[start:end], kept.scale[start:end], low, first_row=start)
            self._backward_part(gradient[start:end], part, step)
        return gradient

    def _backward_part(self, gradient: Tensor, kept: MlpTrace, step: StepContext) -> Tensor:
        wide, down = step.group(self.gate_up_group), step.group(self.down_group)
        gate_up = self._wide_again(kept, step) if kept.gate_up is None else kept.gate_up
        kept.gate_up, low = None, kept.low_gate_up
        hidden = self.down.product_back(gradient)
        after = step.after_gate(down, kept.first_row, step.back(gradient, down, kept.low_down))
        before = None if wide is None or low is None else BeforeGate(low, wide.up, step.alpha, wide.up_gradient)
        back = step.steps.swiglu_backward(gate_up, hidden, before, after)
        del hidden
        # from here on gate_up is its own gradient
        return self._to_input(gate_up, gradient, kept, back, step)

    def _to_input(
        self, gate_up: Tensor, residual: Tensor, kept: MlpTrace, back: Tensor | None, step: StepContext
    ) -> Tensor:
        """Go from the gradient of gate and up, with that of their low-rank values, to that of the half's input."""
        wide = step.group(self.gate_up_group)
        normed = (kept.scale, self.norm.weight)
        through = step.through(back, wide, kept.first_row)
        if wide is not None and through is not None:
            step.steps.weight_gradient(kept.x, through[0], through[2], normed, wide.down_gradient)
        return step.steps.norm_backward(self.gate_up.product_back(gate_up), through, kept.x, normed, residual)

    def _wide_again(self, kept: MlpTrace, step: StepContext) -> Tensor:
        _x, normed, _scale = step.normalise(kept.x, None, self.norm)
        adapter = step.down(normed, step.group(self.gate_up_group), kept.first_row)
        kept.low_gate_up = None if adapter is None else adapter[0]
        return self.gate_up.product(normed)


def _joined(parts: list[Pending]) -> Pending:
    """Put parts of rows one below the other."""
    if len(parts) == 1:
        return parts[0]
    pairs = [part.adapter for part in parts if part.adapter is not None]
    adapter = (torch.cat([low for low, _up in pairs]), pairs[0][1]) if pairs else None
    return Pending(torch.cat([part.out for part in parts]), adapter)
