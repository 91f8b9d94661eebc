"""Triton kernels that read the gradient of adapted layers once for both thin products it takes part in."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.steps import reference
from medtune.accel.triton.device import has_fast_dots, is_half_on_hopper
from medtune.accel.triton.dots import SMALLEST_DOT, padded_rank, precision
from medtune.accel.triton.use import launch

__all__ = ["add_sum", "block_gradients", "summed"]

_TILE = {"ROWS": 64, "COLUMNS": 128, "STAGES": 3, "num_warps": 4}
_HOPPER_TILE = {"ROWS": 64, "COLUMNS": 128, "STAGES": 4, "num_warps": 4}
_HOPPER_TILE_OF_ONE = {"ROWS": 128, "COLUMNS": 128, "STAGES": 3, "num_warps": 8}
"""For one layer alone, which is narrow; at higher ranks than the next it would not fit the shared memory."""
_HIGH_RANK = 64
_SLOW_TILE = {"ROWS": 16, "COLUMNS": 32, "STAGES": 2, "num_warps": 4}
"""Without fast dots: it spills nothing."""
_SPLIT = 1024
"""Rows that one program goes through."""
_SUM = {"COUNT": 8, "BLOCK": 256, "num_warps": 4}
"""Parts and values that one program adds up at once."""
_MEMBERS = 3


@triton.jit(do_not_specialize=["rows", "span"])
def _block_gradients(
    x_ptr, up_ptr, low_ptr, part_ptr, out_ptr, rows, width, span, x_row, low_row, bound_1, bound_2,
    RANK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    block, split = tl.program_id(0), tl.program_id(1).to(tl.int64)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    member = (block * COLUMNS >= bound_1).to(tl.int32) + (block * COLUMNS >= bound_2).to(tl.int32)
    rank = tl.arange(0, PADDED)
    up_place = up_ptr + column[:, None] + rank[None, :].to(tl.int64) * width
    up = tl.load(up_place, mask=(column[:, None] < width) & (rank[None, :] < RANK), other=0.0)
    total = tl.zeros([COLUMNS, PADDED], tl.float32)
    for start in tl.range(0, span, ROWS, num_stages=STAGES):
        row = split * span + start + tl.arange(0, ROWS)
        in_rows = row[:, None] < rows
        inside = in_rows & (column[None, :] < width)
        x = tl.load(x_ptr + row[:, None] * x_row + column[None, :], mask=inside, other=0.0)
        low_inside = in_rows & (rank[None, :] < RANK)
        low = tl.load(low_ptr + row[:, None] * low_row + member * RANK + rank[None, :], mask=low_inside, other=0.0)
        total += tl.dot(tl.trans(x), low, input_precision=PRECISION)
        part = part_ptr + (block.to(tl.int64) * rows + row[:, None]) * RANK + rank[None, :]
        tl.store(part, tl.dot(x, up, input_precision=PRECISION), mask=low_inside)
    place = out_ptr + (split * width + column[:, None]) * RANK + rank[None, :]
    tl.store(place, total, mask=(column[:, None] < width) & (rank[None, :] < RANK))


@triton.jit
def _summed(part_ptr, count, size, place, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    """Return the sum of ``count`` parts, each of ``size`` values, at some places [BLOCK] of them."""
    total = tl.zeros([COUNT, BLOCK], tl.float32)
    for start in range(0, count, COUNT):
        part = start + tl.arange(0, COUNT)
        inside = (part[:, None] < count) & (place[None, :] < size)
        total += tl.load(part_ptr + part[:, None].to(tl.int64) * size + place[None, :], mask=inside, other=0.0)
    return tl.sum(total, 0)


@triton.jit(do_not_specialize=["count"])
def _sum_parts(part_ptr, out_ptr, size, count, factor, ADD: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = _summed(part_ptr, count, size, place, COUNT, BLOCK) * factor
    if ADD:
        total += tl.load(out_ptr + place, mask=place < size, other=0.0)
    tl.store(out_ptr + place, total.to(out_ptr.dtype.element_ty), mask=place < size)


@triton.jit(do_not_specialize=["rows", "bound_0", "bound_1", "bound_2", "bound_3", "count"])
def _sum_blocks(
    part_ptr, out_ptr, rows, bound_0, bound_1, bound_2, bound_3, factor, up_part_ptr, into_ptr, size, count,
    WIDTH: tl.constexpr, MEMBERS: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    blocks = tl.cdiv(rows * WIDTH, BLOCK)
    program = tl.program_id(0)
    if program < blocks * MEMBERS:
        member = program // blocks
        begin = tl.where(member == 0, bound_0, tl.where(member == 1, bound_1, bound_2))
        end = tl.where(member == 0, bound_1, tl.where(member == 1, bound_2, bound_3))
        place = (program - member * blocks) * BLOCK + tl.arange(0, BLOCK)
        part_ptr += begin.to(tl.int64) * (rows * WIDTH)
        total = _summed(part_ptr, end - begin, rows * WIDTH, place, COUNT, BLOCK) * factor
        target = out_ptr + place // WIDTH * (MEMBERS * WIDTH) + member * WIDTH + place % WIDTH
        tl.store(target, total.to(out_ptr.dtype.element_ty), mask=place < rows * WIDTH)
    else:
        place = (program - blocks * MEMBERS) * BLOCK + tl.arange(0, BLOCK)
        total = _summed(up_part_ptr, count, size, place, COUNT, BLOCK)
        total += tl.load(into_ptr + place, mask=place < size, other=0.0)
        tl.store(into_ptr + place, total, mask=place < size)


def block_gradients(x: Tensor, up: Tensor, low: Tensor, bounds: tuple[int, ...], alpha: float, into: Tensor) -> Tensor:
    """As ``reference.block_gradients``."""
    (rows, width), rank, members = x.shape, up.shape[0], len(bounds) - 1
    # a tile of columns must not lie over two members
    tile = _tile(x, members, rank)
    columns = min(tile["COLUMNS"], *(bound & -bound for bound in bounds[1:]))
    if columns < SMALLEST_DOT:
        return reference.block_gradients(x, up, low, bounds, alpha, into)
    blocks, splits = triton.cdiv(width, columns), triton.cdiv(rows, _SPLIT)
    part = torch.empty(blocks, rows, rank, dtype=torch.float32, device=x.device)
    out = torch.empty(splits, width, rank, dtype=torch.float32, device=x.device)
    launch(_block_gradients, (blocks, splits))(
        x, up, low, part, out, rows, width, _SPLIT, x.stride(0), low.stride(0), *(*bounds[1:-1], width, width)[:2],
        RANK=rank, PADDED=padded_rank(rank), PRECISION=precision(x), **{**tile, "COLUMNS": columns},
    )  # fmt: skip
    ends = [-(-bound // columns) for bound in bounds]
    back = torch.empty(rows, members * rank, dtype=x.dtype, device=x.device)
    programs = triton.cdiv(rows * rank, _SUM["BLOCK"]) * members + triton.cdiv(width * rank, _SUM["BLOCK"])
    launch(_sum_blocks, (programs,))(
        part, back, rows, *ends, *(ends[-1:] * (_MEMBERS - members)), alpha, out, into, width * rank, splits,
        WIDTH=rank, MEMBERS=members, **_SUM,
    )  # fmt: skip
    return back


def _tile(x: Tensor, members: int, rank: int) -> dict[str, int]:
    if not has_fast_dots(x.device):
        return _SLOW_TILE
    if not is_half_on_hopper(x):
        return _TILE
    return _HOPPER_TILE_OF_ONE if members == 1 and rank <= _HIGH_RANK else _HOPPER_TILE


def summed(part: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """Return the sum over the first dimension times ``factor``."""
    out = torch.empty(part.shape[1:], dtype=dtype, device=part.device)
    _run_sum(part, out, factor, add=False)
    return out


def add_sum(part: Tensor, into: Tensor) -> None:
    """Add the sum over the first dimension to ``into``, fp32 and of as many values, in place."""
    _run_sum(part, into, 1.0, add=True)


def _run_sum(part: Tensor, out: Tensor, factor: float, *, add: bool) -> None:
    programs = triton.cdiv(out.numel(), _SUM["BLOCK"])
    launch(_sum_parts, (programs,))(part, out, out.numel(), part.shape[0], factor, ADD=add, **_SUM)
