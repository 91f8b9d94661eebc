"""The gated activation in plain PyTorch, with the thin products of the adapters around it."""

from dataclasses import replace

import torch
from torch import Tensor

from medtune.accel.steps.dropout import keep_mask
from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.steps.reference import block_gradients, project, weight_gradient

__all__ = ["swiglu", "swiglu_backward"]

_BLOCK = 64
"""Rows that are turned at a time on a CPU, so that what is made of them stays in its caches."""


def swiglu(gate_up: Tensor, before: BeforeGate | None, after: AfterGate | None) -> tuple[Tensor, Tensor | None]:
    """Return ``silu(gate) * up`` of both halves after their adapters are added, and its low-rank values.

    Args:
        gate_up: [rows, 2 * width] from the frozen weights.
        before: adapters of gate and up, None for none.
        after: adapter of the layer that reads the result, None for none.

    Returns:
        [rows, width], and [rows, r] where there is ``after``.
    """
    gate, upper = _adapted(gate_up, before)
    hidden = (torch.nn.functional.silu(gate) * upper).to(gate_up.dtype)
    return hidden, None if after is None else project(hidden, after.down, after.alpha, after.dropout)


def swiglu_backward(
    gate_up: Tensor, gradient: Tensor, before: BeforeGate | None, after: AfterGate | None
) -> Tensor | None:
    """Turn ``gate_up`` into its gradient in place, and add the gradients of the adapters around it to theirs.

    Args:
        gate_up: [rows, 2 * width] as given to ``swiglu``.
        gradient: [rows, width], of the output, without what flows through the adapter of the layer after; may be
            overwritten.
        before: as given to ``swiglu``, with where its gradient is added.
        after: as given to ``swiglu``, with the gradient of its low-rank values and where its own is added.

    Returns:
        Gradient [rows, 2 * r] of the low-rank values of gate and up, None without ``before``.
    """
    mask, rows, width = None, gradient.shape[0], gradient.shape[1]
    if after is not None and after.back is not None and after.dropout is not None:
        mask = keep_mask(after.dropout, 0, (rows, width), gradient.device) * after.dropout.factor
    hidden = torch.empty_like(gradient)
    block = rows if gate_up.is_cuda else _BLOCK
    for begin in range(0, rows, block):
        own = slice(begin, begin + block)
        part = before if before is None else replace(before, low=before.low[own])
        through = None if after is None or after.back is None else after.back[own] @ after.down
        drawn = None if mask is None else mask[own]
        hidden[own] = _turned_rows(gate_up[own], gradient[own], part, through, drawn)
    if after is not None and after.back is not None and after.down_gradient is not None:
        weight_gradient(hidden, after.back, None, None, after.down_gradient)
    if before is None or before.up_gradient is None:
        return None
    return block_gradients(gate_up, before.up, before.low, (0, width, 2 * width), before.alpha, before.up_gradient)


def _turned_rows(
    gate_up: Tensor, gradient: Tensor, before: BeforeGate | None, through: Tensor | None, mask: Tensor | None
) -> Tensor:
    """Turn rows of ``gate_up`` into their gradient, and return what they were activated to.

    Args:
        gate_up: [rows, 2 * width].
        gradient: [rows, width].
        before: with the low-rank values of these rows.
        through: [rows, width], the gradient that comes through the adapter of the layer after, before its dropout.
        mask: [rows, width] of that dropout, with its factor.
    """
    gate, upper = _adapted(gate_up, before)
    total = gradient.float()
    if through is not None:
        total = total + (through.float() if mask is None else through.float() * mask)
    gated = torch.sigmoid(gate)
    active = gate * gated
    hidden = active * upper if mask is None else active * upper * mask
    slope = (1 - gated).mul_(gate).add_(1)
    into_gate = (total * upper).mul_(gated).mul_(slope)
    into_up = total * active
    own_gate, own_up = gate_up.chunk(2, 1)  # what was read above may be these
    own_gate.copy_(into_gate)
    own_up.copy_(into_up)
    return hidden


def _adapted(gate_up: Tensor, before: BeforeGate | None) -> tuple[Tensor, Tensor]:
    """Return both halves with their adapters, fp32."""
    gate, upper = gate_up.float().chunk(2, 1)
    if before is None:
        return gate, upper
    pairs = zip(before.low.chunk(2, 1), before.up.chunk(2, 1), strict=True)
    added = [low.float() @ up.float() for low, up in pairs]
    return added[0].add_(gate), added[1].add_(upper)
