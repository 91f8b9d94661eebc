"""Triton kernels of the rotary positions, with the norms of heads and the adapters before them."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.model.heads import HeadNorms, Heads
from medtune.accel.triton.device import has_fast_dots
from medtune.accel.triton.dots import SMALLEST_DOT, padded_rank, precision
from medtune.accel.triton.use import launch

__all__ = ["rotate", "rotate_backward"]

_ROTATE_ROWS = 64
_FUSED, _SLOW_FUSED = 64, 16
"""Highest ranks up to which adapters are added inside the rotation; the second without fast dots, where higher ones spill."""

_Pair = tuple[Tensor, Tensor]


@triton.jit
def _rotate(
    in_ptr, out_ptr, low_ptr, up_ptr, cos_ptr, sin_ptr, query_weight_ptr, key_weight_ptr, rows, queries, keys, total, eps,
    HALF: tl.constexpr, RANK: tl.constexpr, PADDED: tl.constexpr, NORM: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    head = tl.program_id(1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < HALF)
    place = in_ptr + row * total + head * (2 * HALF) + column
    first = tl.load(place, mask=inside, other=0.0)
    second = tl.load(place + HALF, mask=inside, other=0.0)
    a, b = first.to(tl.float32), second.to(tl.float32)
    if RANK > 0:
        member = (head >= queries).to(tl.int32) + (head >= queries + keys).to(tl.int32)
        rank = tl.arange(0, PADDED)
        left_inside = (row < rows) & (rank[None, :] < RANK)
        left = tl.load(low_ptr + row * (3 * RANK) + member * RANK + rank[None, :], mask=left_inside, other=0.0)
        right_place = up_ptr + rank[:, None] * total + head * (2 * HALF) + column
        right_inside = (rank[:, None] < RANK) & (column < HALF)
        a += tl.dot(left, tl.load(right_place, mask=right_inside, other=0.0), input_precision=PRECISION)
        b += tl.dot(left, tl.load(right_place + HALF, mask=right_inside, other=0.0), input_precision=PRECISION)
    target = out_ptr + row * total + head * (2 * HALF) + column
    if head < queries + keys:
        if NORM:
            weight_ptr = query_weight_ptr if head < queries else key_weight_ptr
            scale = 1.0 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / (2 * HALF) + eps)[:, None]
            kept = column < HALF
            weight = tl.load(weight_ptr + column, mask=kept, other=0.0).to(tl.float32)
            a = (a * scale).to(first.dtype).to(tl.float32) * weight
            weight = tl.load(weight_ptr + HALF + column, mask=kept, other=0.0).to(tl.float32)
            b = (b * scale).to(first.dtype).to(tl.float32) * weight
        cos = tl.load(cos_ptr + row * HALF + column, mask=inside, other=0.0)
        sin = tl.load(sin_ptr + row * HALF + column, mask=inside, other=0.0)
        tl.store(target, (a * cos - b * sin).to(first.dtype), mask=inside)
        tl.store(target + HALF, (b * cos + a * sin).to(first.dtype), mask=inside)
    else:
        tl.store(target, a.to(first.dtype), mask=inside)
        tl.store(target + HALF, b.to(first.dtype), mask=inside)


# One function, since one pass over memory turns the heads back and goes through their norm.
@triton.jit
def _rotate_backward(
    q_ptr, k_ptr, v_ptr, before_ptr, out_ptr, cos_ptr, sin_ptr, query_weight_ptr, key_weight_ptr,
    rows, queries, keys, q_row, k_row, v_row, q_head, k_head, v_head, out_row, eps,
    HALF: tl.constexpr, NORM: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    head = tl.program_id(1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < HALF)
    target = out_ptr + row * out_row + head * (2 * HALF) + column
    if head >= queries + keys:
        place = v_ptr + row * v_row + (head - queries - keys) * v_head + column
        tl.store(target, tl.load(place, mask=inside, other=0.0), mask=inside)
        tl.store(target + HALF, tl.load(place + HALF, mask=inside, other=0.0), mask=inside)
    else:
        if head < queries:
            place = q_ptr + row * q_row + head * q_head + column
        else:
            place = k_ptr + row * k_row + (head - queries) * k_head + column
        first = tl.load(place, mask=inside, other=0.0)
        second = tl.load(place + HALF, mask=inside, other=0.0)
        a, b = first.to(tl.float32), second.to(tl.float32)
        cos = tl.load(cos_ptr + row * HALF + column, mask=inside, other=0.0)
        sin = tl.load(sin_ptr + row * HALF + column, mask=inside, other=0.0)
        da = a * cos + b * sin
        db = b * cos - a * sin
        if NORM:
            weight_ptr = query_weight_ptr if head < queries else key_weight_ptr
            kept = column < HALF
            da *= tl.load(weight_ptr + column, mask=kept, other=0.0).to(tl.float32)
            db *= tl.load(weight_ptr + HALF + column, mask=kept, other=0.0).to(tl.float32)
            source = before_ptr + row * out_row + head * (2 * HALF) + column
            xa = tl.load(source, mask=inside, other=0.0).to(tl.float32)
            xb = tl.load(source + HALF, mask=inside, other=0.0).to(tl.float32)
            scale = 1.0 / tl.sqrt((tl.sum(xa * xa, 1) + tl.sum(xb * xb, 1)) / (2 * HALF) + eps)[:, None]
            xa *= scale
            xb *= scale
            along = ((tl.sum(da * xa, 1) + tl.sum(db * xb, 1)) / (2 * HALF))[:, None]
            da = scale * (da - xa * along)
            db = scale * (db - xb * along)
        tl.store(target, da.to(first.dtype), mask=inside)
        tl.store(target + HALF, db.to(first.dtype), mask=inside)


def rotate(qkv: Tensor, adapter: _Pair | None, angles: _Pair, heads: Heads, norms: HeadNorms | None) -> Tensor:
    """As ``reference.rotate``."""
    rows, half = qkv.shape[0], heads.width // 2
    most = _FUSED if has_fast_dots(qkv.device) else _SLOW_FUSED
    if adapter is not None and (norms is not None or adapter[1].shape[0] > most):
        for low, begin, end in zip(adapter[0].chunk(3, 1), heads.bounds[:-1], heads.bounds[1:], strict=True):
            qkv[:, begin:end].addmm_(low, adapter[1][:, begin:end])
        adapter = None
    out = qkv if norms is None else torch.empty_like(qkv)
    weights = angles if norms is None else norms.weights
    low, up = adapter or angles
    rank = up.shape[0] if adapter else 0
    values = 0 if norms is None and adapter is None else heads.keys  # they change, or move to a new tensor
    launch(_rotate, (triton.cdiv(rows, _ROTATE_ROWS), heads.queries + heads.keys + values))(
        qkv, out, low, up, *angles, *weights, rows, heads.queries, heads.keys, heads.total,
        0.0 if norms is None else norms.eps,
        HALF=half, RANK=rank, PADDED=padded_rank(rank), NORM=norms is not None, PRECISION=precision(qkv),
        BLOCK=max(SMALLEST_DOT, triton.next_power_of_2(half)), ROWS=_ROTATE_ROWS,
    )  # fmt: skip
    return out


def rotate_backward(
    gradients: tuple[Tensor, Tensor, Tensor],
    angles: _Pair,
    heads: Heads,
    before: tuple[Tensor, HeadNorms] | None,
) -> Tensor:
    """As ``reference.rotate_backward``."""
    q, k, v = gradients
    rows, half = q.shape[0], heads.width // 2
    out = torch.empty(rows, heads.total, dtype=q.dtype, device=q.device)
    weights = angles if before is None else before[1].weights
    launch(_rotate_backward, (triton.cdiv(rows, _ROTATE_ROWS), heads.queries + 2 * heads.keys))(
        q, k, v, q if before is None else before[0], out, *angles, *weights, rows, heads.queries, heads.keys,
        q.stride(0), k.stride(0), v.stride(0), q.stride(1), k.stride(1), v.stride(1), heads.total,
        0.0 if before is None else before[1].eps,
        HALF=half, NORM=before is not None, BLOCK=triton.next_power_of_2(half), ROWS=_ROTATE_ROWS,
    )  # fmt: skip
    return out
