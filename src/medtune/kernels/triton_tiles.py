"""Triton kernels that work on tiles: rotary positions and the gated activation."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.kernels.dropout import Dropout
from medtune.kernels.heads import HeadNorms, Heads
from medtune.kernels.triton_dropout import keep_tile

__all__ = ["rotate", "rotate_backward", "swiglu", "swiglu_backward"]

_ROTATE_ROWS = 32
_GATE = {"ROWS": 32, "COLUMNS": 128, "num_warps": 4}
_GATE_BACKWARD = {"ROWS": 32, "COLUMNS": 128, "num_warps": 8}
_SMALLEST_DOT = 16


@triton.jit
def _rotate(
    in_ptr, out_ptr, cos_ptr, sin_ptr, query_weight_ptr, key_weight_ptr, rows, queries, in_row, out_row, in_head, eps,
    HALF: tl.constexpr, NORM: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    head = tl.program_id(1)
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < HALF)
    place = in_ptr + row * in_row + head * in_head + column
    first = tl.load(place, mask=inside, other=0.0)
    second = tl.load(place + HALF, mask=inside, other=0.0)
    a, b = first.to(tl.float32), second.to(tl.float32)
    if NORM:
        weight_ptr = query_weight_ptr if head < queries else key_weight_ptr
        scale = 1.0 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / (2 * HALF) + eps)[:, None]
        kept = column < HALF
        a = (a * scale).to(first.dtype).to(tl.float32) * tl.load(weight_ptr + column, mask=kept, other=0.0).to(
            tl.float32
        )
        b = (b * scale).to(first.dtype).to(tl.float32) * tl.load(weight_ptr + HALF + column, mask=kept, other=0.0).to(
            tl.float32
        )
    cos = tl.load(cos_ptr + row * HALF + column, mask=inside, other=0.0)
    sin = tl.load(sin_ptr + row * HALF + column, mask=inside, other=0.0)
    target = out_ptr + row * out_row + head * (2 * HALF) + column
    tl.store(target, (a * cos - b * sin).to(first.dtype), mask=inside)
    tl.store(target + HALF, (b * cos + a * sin).to(first.dtype), mask=inside)


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


@triton.jit
def _adapted(
    gate_up_ptr,
    low_ptr,
    up_ptr,
    row,
    column,
    inside,
    rows,
    width,
    RANK: tl.constexpr,
    PADDED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Load a tile of gate and up, each with its adapter added, fp32."""
    place = gate_up_ptr + row[:, None] * (2 * width) + column[None, :]
    gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    upper = tl.load(place + width, mask=inside, other=0.0).to(tl.float32)
    if RANK > 0:
        rank = tl.arange(0, PADDED)
        left = low_ptr + row[:, None] * (2 * RANK) + rank[None, :]
        left_inside = (row[:, None] < rows) & (rank[None, :] < RANK)
        right = up_ptr + column[None, :].to(tl.int64) * RANK + rank[:, None]
        right_inside = (column[None, :] < width) & (rank[:, None] < RANK)
        gate_low = tl.load(left, mask=left_inside, other=0.0)
        upper_low = tl.load(left + RANK, mask=left_inside, other=0.0)
        gate_up = tl.load(right, mask=right_inside, other=0.0)
        upper_up = tl.load(right + width * RANK, mask=right_inside, other=0.0)
        gate += tl.dot(gate_low, gate_up, input_precision=PRECISION)
        upper += tl.dot(upper_low, upper_up, input_precision=PRECISION)
    return gate, upper


@triton.jit(do_not_specialize=["rows"])
def _swiglu(
    gate_up_ptr, low_ptr, up_ptr, out_ptr, rows, width,
    RANK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < width)
    gate, upper = _adapted(gate_up_ptr, low_ptr, up_ptr, row, column, inside, rows, width, RANK, PADDED, PRECISION)
    out = gate * tl.sigmoid(gate) * upper
    tl.store(out_ptr + row[:, None] * width + column[None, :], out.to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows", "first_row", "step_seed", "member_seed", "threshold"])
def _swiglu_backward(
    gate_up_ptr, low_ptr, up_ptr, gradient_ptr, down_low_ptr, down_ptr, rows, width, first_row, step_seed, member_seed,
    threshold, factor,
    RANK: tl.constexpr, DOWN_RANK: tl.constexpr, PADDED: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < width)
    gate, upper = _adapted(gate_up_ptr, low_ptr, up_ptr, row, column, inside, rows, width, RANK, PADDED, PRECISION)
    place = gradient_ptr + row[:, None] * width + column[None, :]
    gradient = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    gated = tl.sigmoid(gate)
    active = gate * gated
    output = active * upper
    if DROP:
        keep = keep_tile(row + first_row, column, step_seed, member_seed, threshold)
        output = tl.where(keep, output * factor, 0.0)
    if DOWN_RANK > 0:
        rank = tl.arange(0, PADDED)
        left_inside = (row[:, None] < rows) & (rank[None, :] < DOWN_RANK)
        right_inside = (column[None, :] < width) & (rank[:, None] < DOWN_RANK)
        left = tl.load(down_low_ptr + row[:, None] * DOWN_RANK + rank[None, :], mask=left_inside, other=0.0)
        right = tl.load(down_ptr + rank[:, None] * width + column[None, :], mask=right_inside, other=0.0)
        through = tl.dot(left, right, input_precision=PRECISION)
        if DROP:
            through = tl.where(keep, through * factor, 0.0)
        gradient += through
    kind = gradient_ptr.dtype.element_ty
    target = gate_up_ptr + row[:, None] * (2 * width) + column[None, :]
    tl.store(target, (gradient * upper * gated * (1.0 + gate * (1.0 - gated))).to(kind), mask=inside)
    tl.store(target + width, (gradient * active).to(kind), mask=inside)
    tl.store(place, output.to(kind), mask=inside)


def rotate(qkv: Tensor, cos: Tensor, sin: Tensor, heads: Heads, norms: HeadNorms | None) -> Tensor:
    """As ``stock.rotate``."""
    rows = qkv.shape[0]
    half = heads.width // 2
    out = qkv
    if norms is not None:
        out = torch.empty_like(qkv)
        heads.split(out)[2].copy_(heads.split(qkv)[2])
    weights = (cos, cos) if norms is None else norms.weights
    _rotate[(triton.cdiv(rows, _ROTATE_ROWS), heads.queries + heads.keys)](
        qkv, out, cos, sin, *weights, rows, heads.queries, heads.total, heads.total, heads.width,
        0.0 if norms is None else norms.eps,
        HALF=half, NORM=norms is not None, BLOCK=triton.next_power_of_2(half), ROWS=_ROTATE_ROWS,
    )  # fmt: skip
    return out


def rotate_backward(
    gradients: tuple[Tensor, Tensor, Tensor],
    cos: Tensor,
    sin: Tensor,
    heads: Heads,
    before: tuple[Tensor, HeadNorms] | None,
) -> Tensor:
    """As ``stock.rotate_backward``."""
    q, k, v = gradients
    rows, half = q.shape[0], heads.width // 2
    out = torch.empty(rows, heads.total, dtype=q.dtype, device=q.device)
    weights = (cos, cos) if before is None else before[1].weights
    _rotate_backward[(triton.cdiv(rows, _ROTATE_ROWS), heads.queries + 2 * heads.keys)](
        q, k, v, q if before is None else before[0], out, cos, sin, *weights, rows, heads.queries, heads.keys,
        q.stride(0), k.stride(0), v.stride(0), q.stride(1), k.stride(1), v.stride(1), heads.total,
        0.0 if before is None else before[1].eps,
        HALF=half, NORM=before is not None, BLOCK=triton.next_power_of_2(half), ROWS=_ROTATE_ROWS,
    )  # fmt: skip
    return out


def swiglu(gate_up: Tensor, low: Tensor | None, up: Tensor | None) -> Tensor:
    """As ``stock.swiglu``."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    rank = 0 if up is None else up.shape[1]
    _swiglu[(triton.cdiv(width, _GATE["COLUMNS"]), triton.cdiv(rows, _GATE["ROWS"]))](
        gate_up, gate_up if low is None else low, gate_up if up is None else up, out, rows, width,
        RANK=rank, PADDED=_padded(rank), PRECISION=precision(gate_up), **_GATE,
    )  # fmt: skip
    return out


def swiglu_backward(
    gate_up: Tensor,
    gradient: Tensor,
    gate_up_adapter: tuple[Tensor, Tensor] | None,
    down_adapter: tuple[Tensor, Tensor] | None,
    dropout: Dropout | None,
) -> None:
    """As ``stock.swiglu_backward``."""
    rows, width = gradient.shape
    low, up = gate_up_adapter or (gate_up, gate_up)
    down_low, down = down_adapter or (gate_up, gate_up)
    rank = up.shape[1] if gate_up_adapter else 0
    down_rank = down.shape[0] if down_adapter else 0
    drop = dropout or Dropout(0.0, 0, (0,))
    _swiglu_backward[(triton.cdiv(width, _GATE_BACKWARD["COLUMNS"]), triton.cdiv(rows, _GATE_BACKWARD["ROWS"]))](
        gate_up, low, up, gradient, down_low, down, rows, width,
        drop.first_row, drop.step_seed, drop.member_seeds[0], drop.threshold, drop.factor,
        RANK=rank, DOWN_RANK=down_rank, PADDED=_padded(max(rank, down_rank)), DROP=dropout is not None,
        PRECISION=precision(gate_up), **_GATE_BACKWARD,
    )  # fmt: skip


def precision(x: Tensor) -> str:
    """Return how dot products treat fp32: exactly, as the equality with eager peft demands."""
    return "ieee" if x.dtype == torch.float32 else "tf32"


def _padded(rank: int) -> int:
    return max(_SMALLEST_DOT, triton.next_power_of_2(rank))
