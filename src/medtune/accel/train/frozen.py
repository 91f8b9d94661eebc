"""Multiplies by frozen weights as they are stored: plain, 4-bit or fp8, several layers in one product."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medtune.accel.model.weights import join
from medtune.accel.train.fp8_linear import Fp8Linear
from medtune.accel.train.steps import Steps

__all__ = ["Frozen", "Scratch", "freeze"]


class Frozen(Protocol):
    """Weights of layers that read the same input, one below the other: [outputs, inputs]."""

    def product(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T``, [rows, outputs]."""
        ...

    def product_back(self, gradient: Tensor) -> Tensor:
        """Return ``gradient @ weight``, [rows, inputs]."""
        ...


class Scratch:
    """Memory that 4-bit weights are dequantized into: shared by layers, one at a time, or one product's own.

    Args:
        keeps: whether it is one product's own, where the weights stay dequantized from pass to pass.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self._memory: Tensor | None = None
        self._owner: object = None
        self._fill: Callable[[], object] | None = None

    def take(self, shape: tuple[int, int], like: Tensor, dtype: torch.dtype, owner: object) -> tuple[Tensor, bool]:
        """Return a [rows, columns] tensor, valid until the next call, and whether it still holds what ``owner`` left."""
        needed = shape[0] * shape[1]
        memory = self._memory
        if memory is None or memory.numel() < needed or memory.dtype != dtype or memory.device != like.device:
            self._memory = self._owner = None  # free the smaller one first
            memory = self._memory = torch.empty(needed, dtype=dtype, device=like.device)
        is_there, self._owner = self._owner is owner, owner
        return memory[:needed].view(shape), is_there

    def fill_by(self, fill: Callable[[], object]) -> None:
        """Have ``fill`` take the memory before each pass, so that it lies apart from what the pass takes and frees."""
        self._fill = fill

    def begin(self) -> None:
        """Begin a pass, with shared content undefined: a captured pass must not rely on what another one left."""
        if self._fill is None:
            self._owner = None
        else:
            self._fill()

    def drop(self) -> None:
        """Free the memory; the next pass takes it again."""
        self._memory = self._owner = None


def freeze(layers: Sequence[nn.Module], dtype: torch.dtype, scratch: Scratch, steps: Steps) -> Frozen | str:
    """Join layers into one product, or say why that cannot be done.

    Plain and fp8 weights move into one block of memory that the layers then look into, so nothing is stored twice
    (fp8 keeps a transposed copy besides, which its products for the gradient need).

    Args:
        layers: base layers, all of one kind.
        dtype: compute type.
        scratch: where 4-bit weights are dequantized; one that keeps them is for these layers alone.
        steps: the form of the fused steps.
    """
    kinds = {type(layer).__name__ for layer in layers}
    if all(type(layer) is nn.Linear for layer in layers):
        weights = [layer.weight for layer in layers if isinstance(layer.weight, Tensor)]
        if any(weight.dtype != dtype for weight in weights):
            return f"the base is stored in {weights[0].dtype} and computes in {dtype}"
        return _Plain(join(layers))
    if all(isinstance(layer, Fp8Linear) for layer in layers):
        return _Fp8([layer for layer in layers if isinstance(layer, Fp8Linear)], dtype, steps.quantize_rows)
    if kinds == {"Linear4bit"}:
        return _FourBit(layers, dtype, scratch, steps.dequantize)
    return f"its layers are stored as {', '.join(sorted(kinds))}"


class _Plain:
    """16- or 32-bit weights."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight

    def product(self, x: Tensor) -> Tensor:
        return torch.mm(x, self._weight.t())

    def product_back(self, gradient: Tensor) -> Tensor:
        return torch.mm(gradient, self._weight)


class _FourBit:
    """NF4 or FP4 weights of bitsandbytes, dequantized before a product, unless the scratch memory still holds them."""

    def __init__(
        self, layers: Sequence[nn.Module], dtype: torch.dtype, scratch: Scratch, dequantize: Callable[..., bool]
    ) -> None:
        from bitsandbytes.functional import dequantize_4bit

        self._own_form, self._dequantize = dequantize, dequantize_4bit
        weights: list[Any] = [layer.weight for layer in layers]
        self._weights, self._dtype, self._scratch = weights, dtype, scratch
        self._heights = [int(weight.quant_state.shape[0]) for weight in weights]
        self._width = int(weights[0].quant_state.shape[1])
        if scratch.keeps:
            scratch.fill_by(self._weight)

    def product(self, x: Tensor) -> Tensor:
        return torch.mm(x, self._weight().t())

    def product_back(self, gradient: Tensor) -> Tensor:
        return torch.mm(gradient, self._weight())

    def _weight(self) -> Tensor:
        shape = (sum(self._heights), self._width)
        joint, is_there = self._scratch.take(shape, self._weights[0].data, self._dtype, self)
        if not is_there:
            for weight, part in zip(self._weights, torch.split(joint, self._heights), strict=True):
                self._dequantize_one(weight, part)
        return joint

    def _dequantize_one(self, weight: Any, out: Tensor) -> None:
        state = weight.quant_state
        packed = weight.data.t() if weight.data.shape[0] == 1 else weight.data
        if self._own_form(weight.data, state, out):
            return
        if state.dtype == self._dtype and packed.is_cuda:  # the CPU's form takes no output
            self._dequantize(packed, quant_state=state, out=out)
        else:
            out.copy_(self._dequantize(packed, quant_state=state))


class _Fp8:
    """e4m3 weights with a scale per output; inputs and gradients are rounded row by row as they come.

    The gradient's product contracts over the outputs, so their scales are multiplied into the gradient before it is
    rounded, and the transposed copy holds the very same values: the gradient is that of the rounded weight.
    """

    def __init__(self, layers: Sequence[Fp8Linear], dtype: torch.dtype, quantize_rows: Any) -> None:
        self._dtype, self._round = dtype, quantize_rows
        self._weight = join(layers).view(torch.float8_e4m3fn)
        self._scale = torch.cat([layer.weight_scale for layer in layers])
        self._column_scale = self._scale.flatten()
        self._transposed = self._weight.view(torch.uint8).t().contiguous().view(torch.float8_e4m3fn)
        self._ones = torch.ones(1, self._weight.shape[1], device=self._weight.device)

    def product(self, x: Tensor) -> Tensor:
        rounded, scale = self._round(x, None)
        return self._multiply(rounded, scale, self._weight, self._scale.t())

    def product_back(self, gradient: Tensor) -> Tensor:
        rounded, scale = self._round(gradient, self._column_scale)
        return self._multiply(rounded, scale, self._transposed, self._ones)

    def _multiply(self, x: Tensor, x_scale: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        if x.is_cuda:
            out: Tensor = torch.ops.aten._scaled_mm(  # noqa: SLF001 - torch has no other row-wise fp8 product
                x, weight.t(), x_scale, scale, out_dtype=self._dtype, use_fast_accum=True
            )
            return out
        return ((x.float() @ weight.float().t()) * x_scale * scale).to(self._dtype)
