"""The adapters around the gated activation, as its steps take them."""

from dataclasses import dataclass

from torch import Tensor

from medtune.accel.steps.dropout import Dropout

__all__ = ["AfterGate", "BeforeGate"]


@dataclass(frozen=True, slots=True)
class BeforeGate:
    """Adapters of gate and up.

    Attributes:
        low: their low-rank values [rows, 2 * r].
        up: second factor [r, 2 * width].
        alpha: their factor.
        up_gradient: fp32 [2 * width, r], to which the backward step adds; None in the forward step.
    """

    low: Tensor
    up: Tensor
    alpha: float
    up_gradient: Tensor | None = None


@dataclass(frozen=True, slots=True)
class AfterGate:
    """Adapter of the layer after the activation.

    Attributes:
        down: first factor [r, width].
        alpha: its factor.
        dropout: masks of its inputs, None for none.
        back: gradient [rows, r] of its low-rank values; None in the forward step.
        down_gradient: fp32 [r, width], to which the backward step adds; None in the forward step.
    """

    down: Tensor
    alpha: float
    dropout: Dropout | None
    back: Tensor | None = None
    down_gradient: Tensor | None = None
