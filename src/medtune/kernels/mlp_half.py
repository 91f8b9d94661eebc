"""The gated MLP half of a decoder block, forward and backward by hand, in parts where memory is short."""

from dataclasses import dataclass

import torch
from torch import Tensor

from medtune.kernels.frozen import Frozen
from medtune.kernels.passing import Norm, Pass, Pending

__all__ = ["MlpHalf", "MlpTrace"]


@dataclass(slots=True)
class MlpTrace:
    """What the backward pass needs: the residual stream at least; without ``gate_up`` the rest is computed again."""

    x: Tensor
    scale: Tensor
    gate_up: Tensor | None = None
    low_gate_up: Tensor | None = None
    low_down: Tensor | None = None


@dataclass(frozen=True, slots=True)
class MlpHalf:
    """Norm, gate and up, activation, down.

    Attributes:
        norm: before the half.
        gate_up: joint frozen weights.
        down: frozen weights of the output.
        groups: numbers of the adapters of ``gate_up`` and ``down``, None for none.
    """

    norm: Norm
    gate_up: Frozen
    down: Frozen
    groups: tuple[int | None, int | None]

    def forward(
        self, x: Tensor, pending: Pending, during: Pass, *, keep_wide: bool
    ) -> tuple[Tensor, Pending, MlpTrace]:
        """Run the half.

        Args:
            x: [rows, width] residual stream.
            pending: what is still to be added to it.
            during: the pass.
            keep_wide: whether the values between the two products are kept.

        Returns:
            Residual stream [rows, width], what is still to be added to it, and the trace.
        """
        x, normed, scale = during.normalise(x, pending, self.norm)
        trace = MlpTrace(x, scale)
        wide, down = during.group(self.groups[0]), during.group(self.groups[1])
        parts: list[Pending] = []
        for start, end in during.parts(x.shape[0]):
            chunk = normed[start:end]
            gate_up = self.gate_up.product(chunk)
            adapter = during.down(chunk, wide, start)
            hidden = during.steps.swiglu(gate_up, adapter)
            if keep_wide:
                trace.gate_up, trace.low_gate_up = gate_up, None if adapter is None else adapter[0]
            del gate_up
            parts.append(Pending(self.down.product(hidden), during.down(hidden, down, start)))
        out = _joined(parts)
        if keep_wide and out.adapter is not None:
            trace.low_down = out.adapter[0]
        return x, out, trace

    def again(self, x: Tensor, pending: Pending, during: Pass) -> MlpTrace:
        """Return the trace that ``forward`` would keep without the wide values."""
        x, _normed, scale = during.normalise(x, pending, self.norm)
        return MlpTrace(x, scale)

    def backward(self, gradient: Tensor, kept: MlpTrace, during: Pass) -> Tensor:
        """Add the adapters' gradients and return that of the half's input, residual included."""
        if kept.gate_up is not None:
            return self._backward_part(gradient, kept, during, 0)
        result = torch.empty_like(gradient)
        for start, end in during.parts(gradient.shape[0]):
            part = MlpTrace(kept.x[start:end], kept.scale[start:end])
            result[start:end] = self._backward_part(gradient[start:end], part, during, start)
        return result

    def _backward_part(self, gradient: Tensor, kept: MlpTrace, during: Pass, start: int) -> Tensor:
        wide, down = during.group(self.groups[0]), during.group(self.groups[1])
        gate_up = self._wide_again(kept, during, start) if kept.gate_up is None else kept.gate_up
        kept.gate_up, low = None, kept.low_gate_up
        back = during.back(gradient, down)
        hidden = self.down.product_back(gradient)
        during.steps.swiglu_backward(
            gate_up,
            hidden,
            None if wide is None or low is None else (low, wide.up),
            None if down is None or back is None else (back, down.down),
            during.dropout(down, start),
        )
        # from here on gate_up is its own gradient, and hidden the dropped input of the second product
        if down is not None and back is not None:
            low_down = kept.low_down
            if low_down is None:
                low_down = during.steps.project(hidden, down.down, during.alpha, None)
            during.note(down, during.steps.weight_gradient(hidden, back, None, None), gradient, low_down)
        del hidden
        return self._to_input(gate_up, gradient, kept, during, start)

    def _to_input(self, gate_up: Tensor, residual: Tensor, kept: MlpTrace, during: Pass, start: int) -> Tensor:
        """Go from the gradient of gate and up to that of the half's input."""
        wide = during.group(self.groups[0])
        normed = (kept.scale, self.norm.weight)
        through = during.through(during.back(gate_up, wide), wide, start)
        if wide is not None and through is not None and kept.low_gate_up is not None:
            weight = during.steps.weight_gradient(kept.x, through[0], through[2], normed)
            during.note(wide, weight, gate_up, kept.low_gate_up)
        return during.steps.norm_backward(self.gate_up.product_back(gate_up), through, kept.x, normed, residual)

    def _wide_again(self, kept: MlpTrace, during: Pass, start: int) -> Tensor:
        _x, normed, _scale = during.normalise(kept.x, None, self.norm)
        adapter = during.down(normed, during.group(self.groups[0]), start)
        kept.low_gate_up = None if adapter is None else adapter[0]
        return self.gate_up.product(normed)


def _joined(parts: list[Pending]) -> Pending:
    """Put parts of rows one below the other."""
    if len(parts) == 1:
        return parts[0]
    pairs = [part.adapter for part in parts if part.adapter is not None]
    adapter = (torch.cat([low for low, _up in pairs]), pairs[0][1]) if pairs else None
    return Pending(torch.cat([part.out for part in parts]), adapter)
