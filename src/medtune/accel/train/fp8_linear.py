"""A frozen linear layer whose weight is stored in e4m3 with one scale per output."""

from typing import Any

import torch
from torch import Tensor, nn

from medtune.accel.steps.reference import quantize_rows

__all__ = ["Fp8Linear"]

_ROUNDING = 16
"""Both widths of a layer must be multiples of it: fp8 matrix products demand it."""


class Fp8Linear(nn.Linear):
    """Stands in for a frozen ``nn.Linear``.

    ``weight`` holds the e4m3 bit patterns as uint8: peft moves a fresh adapter to the type of a floating point weight,
    and initial values rounded to fp8 would be lost. Outside of the fast path products are taken with the weight dequantized
    to the type of the input, so its gradients are exact for the rounded weight.

    Args:
        linear: the layer to replace; widths must be multiples of 16.
        device: where the rounded weight goes.
    """

    weight_scale: Tensor

    def __init__(self, linear: nn.Linear, device: Any = None) -> None:
        # not nn.Linear's: it would allocate and draw weights
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        device = device or linear.weight.device
        rounded, scale = quantize_rows(linear.weight.detach().to(device))
        self.weight = nn.Parameter(rounded.view(torch.uint8), requires_grad=False)
        self.register_buffer("weight_scale", scale)
        bias: Any = linear.bias
        kept = None if bias is None else nn.Parameter(bias.detach().to(device), requires_grad=False)
        self.register_parameter("bias", kept)

    @staticmethod
    def suits(linear: nn.Module) -> bool:
        """Say whether a module can be replaced: a plain linear layer with widths that fp8 products take."""
        if type(linear) is not nn.Linear:
            return False
        return linear.in_features % _ROUNDING == 0 and linear.out_features % _ROUNDING == 0

    @property
    def rounded(self) -> Tensor:
        """The weight as float8_e4m3fn [outputs, inputs], to be multiplied by ``weight_scale`` [outputs, 1]."""
        return self.weight.data.view(torch.float8_e4m3fn)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """Return the weight in ``dtype``, [outputs, inputs]."""
        return self.rounded.to(dtype) * self.weight_scale.to(dtype)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's own name
        """Return ``input @ weight.T + bias``."""
        return nn.functional.linear(input, self.dequantized(input.dtype), self.bias)
