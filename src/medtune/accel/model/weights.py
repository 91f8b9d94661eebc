"""What training's fast path and decoding both do with a model's own weights: join layers, multiply by the head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["join", "joint_weights", "logits_memory", "multiply_back", "write_logits"]

_GRAIN = 8
"""Values of 16 bits in the 16 bytes that the fast matrix products want lengths and places in multiples of."""


def join(layers: Sequence[Any]) -> Tensor:
    """Move the weights of layers into one block of memory, one below the other, and let the layers look into it.

    Args:
        layers: frozen layers that read the same input; where their weights lie so already they stay.

    Returns:
        [sum of outputs, inputs].
    """
    there = joint_weights(layers)
    if there is not None:
        return there
    with torch.inference_mode(mode=False):  # answers may be what joins them, and training is to take the same weights
        return _joined(layers)


def joint_weights(layers: Sequence[Any]) -> Tensor | None:
    """Return the weights of layers as ``join`` does where they lie in one block of memory already, else None."""
    weights: list[Tensor] = [layer.weight.data for layer in layers]
    first, place = weights[0], weights[0].data_ptr()
    for weight in weights:
        if weight.data_ptr() != place or not weight.is_contiguous():
            return None
        place += weight.numel() * weight.itemsize
    if len({weight.untyped_storage().data_ptr() for weight in weights}) > 1:
        return None
    return first.as_strided((sum(map(len, weights)), *first.shape[1:]), first.stride())


def logits_memory(rows: int, vocabulary: int, like: Tensor) -> Tensor:
    """Return room for logits, [rows, vocabulary], in which the gaps between rows are zero."""
    # zeros, since a CPU's 16-bit product may read the gaps, where NaN would not vanish
    return torch.zeros(rows, -(-vocabulary // _GRAIN) * _GRAIN, dtype=like.dtype, device=like.device)[:, :vocabulary]


def write_logits(hidden: Tensor, head: Tensor, out: Tensor) -> None:
    """Write ``hidden @ head.T`` to ``out``; in two parts, so that the large one has an even width.

    Args:
        hidden: [rows, width].
        head: [vocabulary, width].
        out: [rows, vocabulary], from ``logits_memory``.
    """
    even = len(head) // _GRAIN * _GRAIN
    torch.mm(hidden, head[:even].t(), out=out[:, :even])
    if even < len(head):
        torch.mm(hidden, head[even:].t(), out=out[:, even:])


def multiply_back(gradient: Tensor, head: Tensor, out: Tensor) -> None:
    """Write ``gradient @ head`` to ``out``, the counterpart of ``write_logits``."""
    even = len(head) // _GRAIN * _GRAIN
    torch.mm(gradient[:, :even], head[:even], out=out)
    if even < len(head):
        out.addmm_(gradient[:, even:], head[even:])


def _joined(layers: Sequence[Any]) -> Tensor:
    first: Tensor = layers[0].weight.data
    height = sum(len(layer.weight) for layer in layers)
    joint = torch.empty(height, *first.shape[1:], dtype=first.dtype, device=first.device)
    start = 0
    for layer in layers:
        part = joint[start : start + len(layer.weight)]
        part.copy_(layer.weight.data)
        layer.weight.data = part
        start += len(part)
    del first
    if joint.is_cuda:  # nothing asks for memory of the parts' size again: kept, it would add up over the blocks
        torch.cuda.empty_cache()
    return joint
