"""Triton kernels that work on tiles: rotary positions and the gated activation."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.kernels.dropout import Dropout
from medtune.kernels.heads import HeadNorms, Heads
from medtune.kernels.triton_dots import SMALLEST_DOT, padded_rank, precision
from medtune.kernels.triton_dropout import dropout_arguments, keep_tile

__all__ = ["rotate", "rotate_backward", "swiglu", "swiglu_backward"]

_ROTATE_ROWS = 32
_GATE = {"ROWS": 32, "COLUMNS": 64, "num_warps": 4}
_GATE_BACKWARD = {"ROWS": 32, "COLUMNS": 128, "num_warps": 4}
_FUSED = 64
"""Highest rank up to which adapters are added inside the rotation."""

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
        right = up_ptr + rank[:, None] * (2 * width) + column[None, :]
        right_inside = (column[None, :] < width) & (rank[:, None] < RANK)
        gate_low = tl.load(left, mask=left_inside, other=0.0)
        upper_low = tl.load(left + RANK, mask=left_inside, other=0.0)
        gate_up = tl.load(right, mask=right_inside, other=0.0)
        upper_up = tl.load(right + width, mask=right_inside, other=0.0)
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


@triton.jit(do_not_specialize=["rows", "first_row", "member_seed", "threshold"])
def _swiglu_backward(
    gate_up_ptr, low_ptr, up_ptr, gradient_ptr, down_low_ptr, down_ptr, rows, width, step_seed_ptr, first_row,
    member_seed, _seed_1, _seed_2, threshold, factor,
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
        keep = keep_tile(row + first_row, column, step_seed_ptr, member_seed, threshold)
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


def rotate(qkv: Tensor, adapter: _Pair | None, angles: _Pair, heads: Heads, norms: HeadNorms | None) -> Tensor:
    """As ``stock.rotate``."""
    rows, half = qkv.shape[0], heads.width // 2
    if adapter is not None and (norms is not None or adapter[1].shape[0] > _FUSED):
        for low, begin, end in zip(adapter[0].chunk(3, 1), heads.bounds[:-1], heads.bounds[1:], strict=True):
            qkv[:, begin:end].addmm_(low, adapter[1][:, begin:end])
        adapter = None
    out = qkv if norms is None else torch.empty_like(qkv)
    weights = angles if norms is None else norms.weights
    low, up = adapter or angles
    rank = up.shape[0] if adapter else 0
    values = 0 if norms is None and adapter is None else heads.keys  # they change, or move to a new tensor
    _rotate[(triton.cdiv(rows, _ROTATE_ROWS), heads.queries + heads.keys + values)](
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
    """As ``stock.rotate_backward``."""
    q, k, v = gradients
    rows, half = q.shape[0], heads.width // 2
    out = torch.empty(rows, heads.total, dtype=q.dtype, device=q.device)
    weights = angles if before is None else before[1].weights
    _rotate_backward[(triton.cdiv(rows, _ROTATE_ROWS), heads.queries + 2 * heads.keys)](
        q, k, v, q if before is None else before[0], out, *angles, *weights, rows, heads.queries, heads.keys,
        q.stride(0), k.stride(0), v.stride(0), q.stride(1), k.stride(1), v.stride(1), heads.total,
        0.0 if before is None else before[1].eps,
        HALF=half, NORM=before is not None, BLOCK=triton.next_power_of_2(half), ROWS=_ROTATE_ROWS,
    )  # fmt: skip
    return out


def swiglu(gate_up: Tensor, adapter: _Pair | None) -> Tensor:
    """As ``stock.swiglu``."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    low, up = adapter or (gate_up, gate_up)
    rank = up.shape[0] if adapter else 0
    _swiglu[(triton.cdiv(width, _GATE["COLUMNS"]), triton.cdiv(rows, _GATE["ROWS"]))](
        gate_up, low, up, out, rows, width, RANK=rank, PADDED=padded_rank(rank), PRECISION=precision(gate_up), **_GATE
    )
    return out


def swiglu_backward(
    gate_up: Tensor,
    gradient: Tensor,
    adapter: _Pair | None,
    down_adapter: _Pair | None,
    dropout: Dropout | None,
) -> None:
    """As ``stock.swiglu_backward``."""
    rows, width = gradient.shape
    low, up = adapter or (gate_up, gate_up)
    down_low, down = down_adapter or (gate_up, gate_up)
    rank = up.shape[0] if adapter else 0
    down_rank = down.shape[0] if down_adapter else 0
    tile = _GATE_BACKWARD
    _swiglu_backward[(triton.cdiv(width, tile["COLUMNS"]), triton.cdiv(rows, tile["ROWS"]))](
        gate_up, low, up, gradient, down_low, down, rows, width, *dropout_arguments(dropout, gate_up),
        RANK=rank, DOWN_RANK=down_rank, PADDED=padded_rank(max(rank, down_rank)), DROP=dropout is not None,
        PRECISION=precision(gate_up), **tile,
    )  # fmt: skip
