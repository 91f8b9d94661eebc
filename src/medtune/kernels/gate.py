"""What goes into the gated activation's backward step, and what comes out."""

from dataclasses import dataclass

from torch import Tensor

from medtune.kernels.dropout import Dropout

__all__ = ["AfterGate", "BeforeGate", "GateGradients"]


@dataclass(frozen=True, slots=True)
class BeforeGate:
    """Adapters of gate and up: ``low`` [rows, 2 * r], second factor ``up`` [r, 2 * width]; ``alpha`` is their factor."""

    low: Tensor
    up: Tensor
    alpha: float


@dataclass(frozen=True, slots=True)
class AfterGate:
    """Adapter of the layer after the activation.

    Attributes:
        down: first factor [r, width].
        alpha: its factor.
        dropout: masks of its inputs, None for none.
        back: gradient [rows, r] of its low-rank values; None in the forward step.
    """

    down: Tensor
    alpha: float
    dropout: Dropout | None
    back: Tensor | None = None


@dataclass(frozen=True, slots=True)
class GateGradients:
    """What the backward step leaves besides the gradient of gate and up; None where there is no such adapter.

    Attributes:
        back: gradient [rows, 2 * r] of the low-rank values of gate and up.
        up: gradient of their second factor, fp32 [2 * width, r].
        down: gradient of the first factor of the layer after, fp32 [r, width].
    """

    back: Tensor | None
    up: Tensor | None
    down: Tensor | None
