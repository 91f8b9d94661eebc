"""The steps between matrix products, in plain PyTorch or as fused Triton kernels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medtune.accel.model.heads import HeadNorms, Heads, Norm
from medtune.accel.triton.use import has_triton

__all__ = ["REFERENCE", "Steps", "choose_steps"]

_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps; those of ``REFERENCE`` say what each does."""

    norm: Callable[[Tensor, Tensor | None, Norm], _Pair]
    rotate: Callable[[Tensor, _Pair, Heads, HeadNorms | None], None]
    gate: Callable[[Tensor, _Pair | None], Tensor]


def choose_steps(device: torch.device) -> Steps:
    """Return the fastest steps that run on ``device``."""
    if device.type != "cuda" or not has_triton():
        return REFERENCE
    from medtune.accel.triton import decode_steps

    return Steps(decode_steps.norm, decode_steps.rotate, decode_steps.gate)


def _norm(x: Tensor, pending: Tensor | None, norm: Norm) -> _Pair:
    """Add ``pending`` to the residual stream [rows, width]; return it and its root-mean-square normalised form."""
    total = x if pending is None else x + pending
    return total, _normed(total, norm)


def _rotate(qkv: Tensor, angles: _Pair, heads: Heads, norms: HeadNorms | None) -> None:
    """Rotate query and key heads by their positions, in place, after their norms where the model has some.

    Args:
        qkv: [rows, heads.total].
        angles: cosines and sines, fp32 [rows, heads.width / 2] each.
        heads: how ``qkv`` divides.
        norms: of query and key heads.
    """
    cos, sin = (angle[:, None] for angle in angles)
    query, key, _ = heads.split(qkv)
    for part, norm in ((query, norms and norms.query), (key, norms and norms.key)):
        first, second = (_normed(part, norm) if norm else part).float().chunk(2, -1)
        part.copy_(torch.cat([first * cos - second * sin, second * cos + first * sin], -1))


def _gate(gate_up: Tensor, adapters: _Pair | None) -> Tensor:
    """Return ``silu(gate) * up``, [rows, width].

    Args:
        gate_up: [rows, 2 * width], gate and up side by side.
        adapters: low-rank values [rows, 2 * r] and second factors [2 * width, r] to be added to ``gate_up`` first.
    """
    gate, up = gate_up.chunk(2, 1)
    if adapters is not None:
        low, second = adapters
        (low_gate, low_up), (second_gate, second_up) = low.chunk(2, 1), second.chunk(2)
        gate, up = torch.addmm(gate, low_gate, second_gate.t()), torch.addmm(up, low_up, second_up.t())
    return functional.silu(gate) * up


def _normed(x: Tensor, norm: Norm) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + norm.eps)).to(x.dtype) * norm.weight


REFERENCE = Steps(_norm, _rotate, _gate)
"""The steps in plain PyTorch: what a CPU runs, and what the kernels must equal."""
