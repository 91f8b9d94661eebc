"""Triton kernels of the gated activation, which take the thin products of the adapters around it along in one pass."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import knobs
from triton.language.extra import libdevice

from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.triton.blocks import add_sum, block_gradients, summed
from medtune.accel.triton.device import HALF, HOPPER, has_fast_dots, is_half_on_hopper, register_bound
from medtune.accel.triton.dots import padded_rank, precision
from medtune.accel.triton.dropout import draw_words, dropout_arguments, kept, load_keys
from medtune.accel.triton.use import launch

__all__ = ["swiglu", "swiglu_backward"]

_FAST = not knobs.runtime.interpret  # the interpreter knows no functions of the device
_FORWARD = {"ROWS": 64, "COLUMNS": 64, "num_warps": 4}
_BACKWARD = {"ROWS": 16, "COLUMNS": 64, "STAGES": 2, "num_warps": 4}
_BACKWARD_HALF = {"ROWS": 64, "COLUMNS": 32, "STAGES": 2, "num_warps": 4}
"""In half precision elsewhere than on Hopper, where lower tiles would let all warps compute the same."""
_SLOW_FORWARD = {"ROWS": 16, "COLUMNS": 32, "num_warps": 4}
_SLOW_BACKWARD = {"ROWS": 16, "COLUMNS": 32, "STAGES": 2, "num_warps": 4}
"""Without fast dots: they spill nothing."""
_FORWARD_REGISTERS = {32: 168}
_BACKWARD_REGISTERS = {16: 72, 64: 128}
"""By padded rank: without a bound the fast logistic function would cost one of the programs that share a processor."""
_FORWARD_COLUMNS = 512
"""Columns that one program of the forward kernel goes through."""
_BACKWARD_ROWS = 512
"""Rows that one program of the backward kernel goes through."""


@triton.jit
def _sigmoid(x, FAST: tl.constexpr):
    """Return the logistic function; the fast form spends no instructions on fp32's subnormal numbers."""
    if FAST:
        return libdevice.fast_dividef(1.0, 1.0 + libdevice.fast_expf(-x))
    return tl.sigmoid(x)


@triton.jit
def _load_factor(factor_ptr, rank, column, width, stride, RANK: tl.constexpr):
    """Load a tile [PADDED, COLUMNS] of a factor whose rows are ``stride`` apart."""
    inside = (column[None, :] < width) & (rank[:, None] < RANK)
    return tl.load(factor_ptr + rank[:, None] * stride + column[None, :], mask=inside, other=0.0)


@triton.jit
def _load_half(factor_ptr, rank, column, width, first, RANK: tl.constexpr):
    """Load the factor of one of two members that share a tile of ranks: its rows begin at ``first``, others are zero."""
    inside = (column[None, :] < width) & (rank[:, None] >= first) & (rank[:, None] < first + RANK)
    place = factor_ptr + (rank[:, None] - first) * (2 * width) + column[None, :]
    return tl.load(place, mask=inside, other=0.0)


@triton.jit(do_not_specialize=["rows", "seed_0", "_seed_1", "threshold"])
def _swiglu(
    gate_up_ptr, low_ptr, up_ptr, down_ptr, out_ptr, part_ptr, rows, width, span,
    keys_ptr, seed_0, _seed_1, threshold, _factor,
    RANK: tl.constexpr, DOWN_RANK: tl.constexpr, PADDED: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    FAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    in_rows = row[:, None] < rows
    rank = tl.arange(0, PADDED)
    if RANK > 0:
        left = low_ptr + row[:, None] * (2 * RANK) + rank[None, :]
        left_inside = in_rows & (rank[None, :] < RANK)
        gate_low = tl.load(left, mask=left_inside, other=0.0)
        upper_low = tl.load(left + RANK, mask=left_inside, other=0.0)
    low = tl.zeros([ROWS, PADDED], tl.float32)
    if DROP:
        keys = load_keys(keys_ptr, row, rows)
    begin = tl.program_id(0) * span
    for start in tl.range(begin, tl.minimum(begin + span, width), COLUMNS, num_stages=STAGES):
        column = start + tl.arange(0, COLUMNS)
        inside = in_rows & (column[None, :] < width)
        place = gate_up_ptr + row[:, None] * (2 * width) + column[None, :]
        gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        upper = tl.load(place + width, mask=inside, other=0.0).to(tl.float32)
        if RANK > 0:
            gate_factor = _load_factor(up_ptr, rank, column, width, 2 * width, RANK)
            upper_factor = _load_factor(up_ptr + width, rank, column, width, 2 * width, RANK)
            gate += tl.dot(gate_low, gate_factor, input_precision=PRECISION)
            upper += tl.dot(upper_low, upper_factor, input_precision=PRECISION)
        out = (gate * _sigmoid(gate, FAST) * upper).to(out_ptr.dtype.element_ty)
        tl.store(out_ptr + row[:, None] * width + column[None, :], out, mask=inside)
        if DOWN_RANK > 0:
            if DROP:
                keep = kept(draw_words(keys, column, seed_0), 0, threshold)
                out = tl.where(keep, out, 0.0)
            down = _load_factor(down_ptr, rank, column, width, width, DOWN_RANK)
            low += tl.dot(out, tl.trans(down), input_precision=PRECISION)
    if DOWN_RANK > 0:
        target = part_ptr + (tl.program_id(0) * rows + row[:, None]) * DOWN_RANK + rank[None, :]
        tl.store(target, low, mask=in_rows & (rank[None, :] < DOWN_RANK))


# One function, since one pass over memory takes all of it along.
@triton.jit(do_not_specialize=["rows", "span", "seed_0", "_seed_1", "threshold"])
def _swiglu_backward(
    gate_up_ptr, gradient_ptr, low_ptr, up_ptr, back_ptr, down_ptr, d_down_ptr,
    rows, width, span, keys_ptr, seed_0, _seed_1, threshold, factor,
    RANK: tl.constexpr, DOWN_RANK: tl.constexpr, PADDED: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    FAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    block, split = tl.program_id(0), tl.program_id(1).to(tl.int64)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    rank = tl.arange(0, PADDED)
    kind = gate_up_ptr.dtype.element_ty
    if RANK > 0:
        gate_factor = _load_half(up_ptr, rank, column, width, 0, RANK)
        upper_factor = _load_half(up_ptr + width, rank, column, width, RANK, RANK)
    if DOWN_RANK > 0:
        down = _load_factor(down_ptr, rank, column, width, width, DOWN_RANK)
        d_down = tl.zeros([COLUMNS, PADDED], tl.float32)
    for start in tl.range(0, span, ROWS, num_stages=STAGES):
        row = split * span + start + tl.arange(0, ROWS)
        in_rows = row[:, None] < rows
        inside = in_rows & (column[None, :] < width)
        place = gate_up_ptr + row[:, None] * (2 * width) + column[None, :]
        gate = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        upper = tl.load(place + width, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.load(gradient_ptr + row[:, None] * width + column[None, :], mask=inside, other=0.0).to(tl.float32)
        if RANK > 0:
            low_inside = in_rows & (rank[None, :] < 2 * RANK)
            low = tl.load(low_ptr + row[:, None] * (2 * RANK) + rank[None, :], mask=low_inside, other=0.0)
            gate += tl.dot(low, gate_factor, input_precision=PRECISION)
            upper += tl.dot(low, upper_factor, input_precision=PRECISION)
        gated = _sigmoid(gate, FAST)
        active = gate * gated
        if DOWN_RANK > 0:
            down_inside = in_rows & (rank[None, :] < DOWN_RANK)
            down_low = tl.load(back_ptr + row[:, None] * DOWN_RANK + rank[None, :], mask=down_inside, other=0.0)
            through = tl.dot(down_low, down, input_precision=PRECISION)
            output = active * upper
            if DROP:
                keep = kept(draw_words(load_keys(keys_ptr, row, rows), column, seed_0), 0, threshold)
                through = tl.where(keep, through * factor, 0.0)
                output = tl.where(keep, output * factor, 0.0)
            gradient += through
            hidden = output.to(kind)
            d_down += tl.dot(tl.trans(hidden), down_low, input_precision=PRECISION)
        d_gate = (gradient * upper * gated * (1.0 + gate * (1.0 - gated))).to(kind)
        d_upper = (gradient * active).to(kind)
        tl.store(place, d_gate, mask=inside)
        tl.store(place + width, d_upper, mask=inside)
    if DOWN_RANK > 0:
        target = d_down_ptr + (split * DOWN_RANK + rank[None, :]) * width + column[:, None]
        tl.store(target, d_down, mask=(column[:, None] < width) & (rank[None, :] < DOWN_RANK))


def swiglu(gate_up: Tensor, before: BeforeGate | None, after: AfterGate | None) -> tuple[Tensor, Tensor | None]:
    """As ``reference_gate.swiglu``."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    low, up = (before.low, before.up) if before else (gate_up, gate_up)
    rank, down_rank = up.shape[0] if before else 0, after.down.shape[0] if after else 0
    spans, padded = triton.cdiv(width, _FORWARD_COLUMNS), padded_rank(max(rank, down_rank))
    part = torch.empty(spans, rows, down_rank, dtype=torch.float32, device=gate_up.device)
    dropout = after.dropout if after else None
    tile = _FORWARD if has_fast_dots(out.device) else _SLOW_FORWARD
    launch(_swiglu, (spans, triton.cdiv(rows, tile["ROWS"])))(
        gate_up, low, up, after.down if after else gate_up, out, part, rows, width, _FORWARD_COLUMNS,
        *dropout_arguments(dropout, gate_up),
        RANK=rank, DOWN_RANK=down_rank, PADDED=padded, DROP=dropout is not None,
        PRECISION=precision(gate_up), FAST=_FAST, **tile, STAGES=3 if is_half_on_hopper(out) else 2,
        **register_bound(out, _FORWARD_REGISTERS.get(padded) if rank and down_rank else None),
    )  # fmt: skip
    if after is None:
        return out, None
    return out, summed(part, after.alpha * (dropout.factor if dropout else 1.0), gate_up.dtype)


def swiglu_backward(
    gate_up: Tensor, gradient: Tensor, before: BeforeGate | None, after: AfterGate | None
) -> Tensor | None:
    """As ``reference_gate.swiglu_backward``."""
    rows, width = gradient.shape
    low, up = (before.low, before.up) if before else (gate_up, gate_up)
    rank, down_rank = up.shape[0] if before else 0, after.down.shape[0] if after else 0
    back = after.back if after and after.back is not None else gate_up
    dropout = after.dropout if after else None
    tile = _tile(gradient, max(rank, down_rank))
    padded = padded_rank(max(2 * rank, down_rank))
    blocks, splits = triton.cdiv(width, tile["COLUMNS"]), triton.cdiv(rows, _BACKWARD_ROWS)
    d_down = torch.empty(splits, down_rank, width, dtype=torch.float32, device=gate_up.device)
    # adapters on one side only, or masks, leave or take other numbers of registers
    most = _BACKWARD_REGISTERS.get(padded) if rank and down_rank and dropout is None else None
    launch(_swiglu_backward, (blocks, splits))(
        gate_up, gradient, low, up, back, after.down if after else gate_up, d_down,
        rows, width, _BACKWARD_ROWS, *dropout_arguments(dropout, gate_up),
        RANK=rank, DOWN_RANK=down_rank, PADDED=padded, DROP=dropout is not None,
        PRECISION=precision(gate_up), FAST=_FAST, **tile,
        **register_bound(gradient, most, generations=(HOPPER,)),
    )  # fmt: skip
    if after is not None and after.down_gradient is not None:
        add_sum(d_down, after.down_gradient)
    if before is None or before.up_gradient is None:
        return None
    # in a pass of its own: with these accumulators too, few programs fit a processor at a time
    return block_gradients(gate_up, before.up, before.low, (0, width, 2 * width), before.alpha, before.up_gradient)


def _tile(gradient: Tensor, rank: int) -> dict[str, int]:
    """Return the tile of the backward kernel, lower where accumulators of a high rank would fill the registers."""
    if not has_fast_dots(gradient.device):
        return _SLOW_BACKWARD
    is_other = gradient.element_size() == HALF and not is_half_on_hopper(gradient)
    tile = _BACKWARD_HALF if is_other else _BACKWARD
    return tile if rank <= 32 else {**tile, "ROWS": 16}  # noqa: PLR2004 - measured up to 32
