"""The steps between matrix products as fused Triton kernels."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.model.heads import HeadNorms, Heads, Norm
from medtune.accel.triton.device import has_fast_dots
from medtune.accel.triton.use import launch

__all__ = ["gate", "norm", "rotate"]

_SMALLEST_DOT = 16
_LARGEST_RANK, _LARGEST_SLOW_RANK = 64, 16
"""Adapters of a higher rank are added by matrix products instead: their tiles would not fit beside the others; the second where
dots are not fast."""
_WIDE_ROW = 4096
_GATE_ROWS, _GATE_COLUMNS = 32, 64
_ROTATED_ROWS = 8


@triton.jit
def _norm(x_ptr, pending_ptr, weight_ptr, total_ptr, normed_ptr, width, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    inside = column < width
    place = tl.program_id(0).to(tl.int64) * width + column
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    if ADD:
        added = x.to(tl.float32) + tl.load(pending_ptr + place, mask=inside, other=0.0).to(tl.float32)
        x = added.to(x.dtype)
        tl.store(total_ptr + place, x, mask=inside)
    wide = x.to(tl.float32)
    scaled = wide * (1.0 / tl.sqrt(tl.sum(wide * wide, 0) / width + eps))
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed_ptr + place, (scaled.to(x.dtype).to(tl.float32) * weight).to(x.dtype), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def _rotate(
    qkv_ptr, cos_ptr, sin_ptr, query_weight_ptr, key_weight_ptr, rows, queries, stride, query_eps, key_eps,
    HALF: tl.constexpr, NORM: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    head = tl.program_id(1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < HALF)
    place = qkv_ptr + row * stride + head * (2 * HALF) + column
    first = tl.load(place, mask=inside, other=0.0)
    second = tl.load(place + HALF, mask=inside, other=0.0)
    a, b = first.to(tl.float32), second.to(tl.float32)
    if NORM:
        weight_ptr = query_weight_ptr if head < queries else key_weight_ptr
        eps = query_eps if head < queries else key_eps
        scale = 1.0 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / (2 * HALF) + eps)[:, None]
        low = tl.load(weight_ptr + column, mask=column < HALF, other=0.0).to(tl.float32)
        high = tl.load(weight_ptr + HALF + column, mask=column < HALF, other=0.0).to(tl.float32)
        a = ((a * scale).to(first.dtype).to(tl.float32) * low).to(first.dtype).to(tl.float32)
        b = ((b * scale).to(first.dtype).to(tl.float32) * high).to(first.dtype).to(tl.float32)
    cos = tl.load(cos_ptr + row * HALF + column, mask=inside, other=0.0)
    sin = tl.load(sin_ptr + row * HALF + column, mask=inside, other=0.0)
    tl.store(place, (a * cos - b * sin).to(first.dtype), mask=inside)
    tl.store(place + HALF, (b * cos + a * sin).to(first.dtype), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def _gate(
    gate_up_ptr, low_ptr, second_ptr, out_ptr, rows, width,
    RANK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < width)
    place = gate_up_ptr + row[:, None] * (2 * width) + column[None, :]
    gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(place + width, mask=inside, other=0.0).to(tl.float32)
    if RANK > 0:
        rank = tl.arange(0, PADDED)
        low_place = low_ptr + row[:, None] * (2 * RANK) + rank[None, :]
        low_inside = (row[:, None] < rows) & (rank[None, :] < RANK)
        second_place = second_ptr + column[None, :].to(tl.int64) * RANK + rank[:, None]
        second_inside = (column[None, :] < width) & (rank[:, None] < RANK)
        low = tl.load(low_place, mask=low_inside, other=0.0)
        second = tl.load(second_place, mask=second_inside, other=0.0)
        gate += tl.dot(low, second, input_precision=PRECISION)
        low = tl.load(low_place + RANK, mask=low_inside, other=0.0)
        second = tl.load(second_place + width * RANK, mask=second_inside, other=0.0)
        up += tl.dot(low, second, input_precision=PRECISION)
    kind = out_ptr.dtype.element_ty
    # rounded between the steps as PyTorch does, so that answers differ from its own as rarely as can be
    gate, up = gate.to(kind).to(tl.float32), up.to(kind).to(tl.float32)
    active = (gate * tl.sigmoid(gate)).to(kind).to(tl.float32)
    tl.store(out_ptr + row[:, None] * width + column[None, :], (active * up).to(kind), mask=inside)


def norm(x: Tensor, pending: Tensor | None, norm: Norm) -> tuple[Tensor, Tensor]:
    """As ``REFERENCE.norm``."""
    rows, width = x.shape
    total = x if pending is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    block = triton.next_power_of_2(width)
    launch(_norm, (rows,))(
        x, x if pending is None else pending, norm.weight, total, normed, width, norm.eps,
        ADD=pending is not None, BLOCK=block, num_warps=4 if block < _WIDE_ROW else 8,
    )  # fmt: skip
    return total, normed


def rotate(qkv: Tensor, angles: tuple[Tensor, Tensor], heads: Heads, norms: HeadNorms | None) -> None:
    """As ``REFERENCE.rotate``."""
    rows, half = qkv.shape[0], heads.width // 2
    weights = (qkv, qkv) if norms is None else (norms.query.weight, norms.key.weight)
    eps = (0.0, 0.0) if norms is None else (norms.query.eps, norms.key.eps)
    launch(_rotate, (triton.cdiv(rows, _ROTATED_ROWS), heads.queries + heads.keys))(
        qkv, *angles, *weights, rows, heads.queries, heads.total, *eps,
        HALF=half, NORM=norms is not None, BLOCK=triton.next_power_of_2(half), ROWS=_ROTATED_ROWS, num_warps=2,
    )  # fmt: skip


def gate(gate_up: Tensor, adapters: tuple[Tensor, Tensor] | None) -> Tensor:
    """As ``REFERENCE.gate``."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    low, second = adapters or (gate_up, gate_up)
    rank = second.shape[1] if adapters else 0
    if adapters and rank > (_LARGEST_RANK if has_fast_dots(out.device) else _LARGEST_SLOW_RANK):
        for part, low_part, second_part in zip(gate_up.chunk(2, 1), low.chunk(2, 1), second.chunk(2), strict=True):
            part.addmm_(low_part, second_part.t())
        rank = 0
    launch(_gate, (triton.cdiv(width, _GATE_COLUMNS), triton.cdiv(rows, _GATE_ROWS)))(
        gate_up, low, second, out, rows, width, RANK=rank, PADDED=max(_SMALLEST_DOT, triton.next_power_of_2(rank)),
        PRECISION="ieee" if gate_up.dtype == torch.float32 else "tf32", ROWS=_GATE_ROWS, COLUMNS=_GATE_COLUMNS,
    )  # fmt: skip
    return out
