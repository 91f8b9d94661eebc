"""Products with frozen layers that read the same input, adapters added, as generation needs them: forward only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from medtune.accel.model.weights import join, joint_weights

__all__ = ["LowRank", "Product", "Scratch", "Stored", "bytes_dequantized", "store"]


class Stored(Protocol):
    """Frozen weights, one below the other: [outputs, inputs]."""

    def product(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T``, [rows, outputs]."""
        ...


class Scratch:
    """Memory that compressed weights are dequantized into, one product at a time."""

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def take(self, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Return a tensor of ``shape`` with undefined values, valid until the next call."""
        needed = shape[0] * shape[1]
        if self._memory is None or self._memory.numel() < needed:
            self._memory = None  # the smaller one goes first
            self._memory = torch.empty(needed, dtype=like.dtype, device=like.device)
        return self._memory[:needed].view(shape)


@dataclass(frozen=True, slots=True)
class LowRank:
    """Adapters of joint layers in the compute type.

    Attributes:
        down: [ranks, inputs], of all layers one below the other.
        up: [outputs, ranks], zero where a layer's outputs meet another layer's ranks; the adapters' factor is in it.
        narrow: [outputs, r] without those zeros, when every layer has exactly one adapter of the same rank.
    """

    down: Tensor
    up: Tensor
    narrow: Tensor | None


@dataclass(frozen=True, slots=True)
class Product:
    """Joint layers: frozen weights, bias [outputs] and adapters, the last two where there are any."""

    weight: Stored
    bias: Tensor | None
    adapters: LowRank | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the layers' outputs side by side, [rows, outputs]."""
        y = self.weight.product(x)
        if self.bias is not None:
            y += self.bias
        if self.adapters is not None:
            y.addmm_(torch.mm(x, self.adapters.down.t()), self.adapters.up.t())
        return y


def store(
    layers: Sequence[nn.Module], dtype: torch.dtype, scratch: Scratch | None, *, is_joint: bool = True
) -> Stored | str:
    """Return the weights of layers for products, or say why that cannot be done; on a GPU plain ones are joined in place.

    Args:
        layers: base layers that read the same input.
        dtype: compute type.
        scratch: where compressed weights are dequantized for each product; None dequantizes them once, into new memory.
        is_joint: whether weights dequantized once and plain ones take part in one product. Layers that are wide enough for a
            product each are faster apart: 88 against 95 us for gate and up of 7 billion parameters, 256 rows, on an H200.
    """
    if all(type(layer) is nn.Linear for layer in layers):
        weights = [layer.weight.data for layer in layers if isinstance(layer.weight, Tensor)]
        if any(weight.dtype != dtype for weight in weights):
            return f"the base is stored in {weights[0].dtype} and computes in {dtype}"
        # moved, they would multiply with another rounding on a CPU, and a training that goes on must not see that
        joint = join(layers) if is_joint and layers[0].weight.is_cuda else joint_weights(layers)
        return _Dense(tuple(weights) if joint is None or not is_joint else (joint,))
    dequantizes = [_dequantizer(layer) for layer in layers]
    unknown = [_kind(layer) for layer, dequantize in zip(layers, dequantizes, strict=True) if dequantize is None]
    if unknown:
        return f"its layers are stored as {', '.join(sorted(set(unknown)))}"
    known = [dequantize for dequantize in dequantizes if dequantize is not None]
    shapes = [(int(layer.out_features), int(layer.in_features)) for layer in _sized(layers)]
    if scratch is not None:
        return _DequantizedEachTime(known, shapes, scratch)
    joint = torch.empty(sum(s[0] for s in shapes), shapes[0][1], dtype=dtype, device=_device(layers[0]))
    for dequantize, part in zip(known, torch.split(joint, [s[0] for s in shapes]), strict=True):
        dequantize(part)
    return _Dense((joint,) if is_joint else torch.split(joint, [s[0] for s in shapes]))


def bytes_dequantized(layers: Sequence[nn.Module], dtype: torch.dtype) -> int:
    """Return the memory that ``store`` takes to dequantize layers once; 0 for plain ones."""
    compressed = [layer for layer in _sized(layers) if type(layer) is not nn.Linear]
    return sum(int(layer.out_features) * int(layer.in_features) for layer in compressed) * dtype.itemsize


class _Dense:
    """Weights in the compute type, each in its place."""

    def __init__(self, weights: tuple[Tensor, ...]) -> None:
        self._weights = weights
        self._outputs = [int(weight.shape[0]) for weight in weights]

    def product(self, x: Tensor) -> Tensor:
        if len(self._weights) == 1:
            return torch.mm(x, self._weights[0].t())
        y = torch.empty(x.shape[0], sum(self._outputs), dtype=x.dtype, device=x.device)
        for weight, part in zip(self._weights, torch.split(y, self._outputs, 1), strict=True):
            torch.mm(x, weight.t(), out=part)
        return y


class _DequantizedEachTime:
    """Compressed weights, dequantized before every product: 4 ms for 7 billion parameters on an H200."""

    def __init__(
        self,
        dequantizes: Sequence[Callable[[Tensor], None]],
        shapes: Sequence[tuple[int, int]],
        scratch: Scratch,
    ) -> None:
        self._dequantizes, self._shapes, self._scratch = dequantizes, shapes, scratch

    def product(self, x: Tensor) -> Tensor:
        outputs = [shape[0] for shape in self._shapes]
        joint = self._scratch.take((sum(outputs), self._shapes[0][1]), x)
        for dequantize, part in zip(self._dequantizes, torch.split(joint, outputs), strict=True):
            dequantize(part)
        return torch.mm(x, joint.t())


def _dequantizer(layer: Any) -> Callable[[Tensor], None] | None:
    """Return what writes a layer's weight into a tensor [outputs, inputs], None for a layer that is not known."""
    kind = _kind(layer)
    if kind == "Linear4bit":
        return lambda out: _dequantize_4bit(layer.weight, out)
    if hasattr(layer, "dequantized"):  # a frozen layer of medtune's own, which says itself what it stands for
        return lambda out: _into(out, layer.dequantized(out.dtype))
    if type(layer) is nn.Linear:
        return lambda out: _into(out, layer.weight.data)
    return None


def _kind(layer: Any) -> str:
    packed = getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False)
    return type(layer).__name__ + (" repacked for this CPU" if packed else "")


def _dequantize_4bit(weight: Any, out: Tensor) -> None:
    from bitsandbytes.functional import dequantize_4bit

    state = weight.quant_state
    if state.dtype == out.dtype and out.is_cuda:  # on a CPU bitsandbytes 0.50 cannot write into a given tensor
        dequantize_4bit(weight.data, quant_state=state, out=out)
    else:
        _into(out, dequantize_4bit(weight.data, quant_state=state))


def _into(out: Tensor, weight: Tensor) -> None:
    out.copy_(weight)


def _sized(layers: Sequence[nn.Module]) -> list[Any]:
    return list(layers)


def _device(layer: Any) -> torch.device:
    device: torch.device = layer.weight.device
    return device
