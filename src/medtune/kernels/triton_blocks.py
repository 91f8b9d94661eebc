"""Triton kernels that read the gradient of adapted layers once for both thin products it takes part in."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.kernels.triton_dots import padded_rank, precision

__all__ = ["block_gradients", "summed"]

_TILE = {"ROWS": 64, "COLUMNS": 128, "STAGES": 3, "num_warps": 4}
_SPLIT = 1024
"""Rows that one program goes through."""
_SUM_BLOCK = 256
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


@triton.jit(do_not_specialize=["rows", "bound_0", "bound_1", "bound_2", "bound_3"])
def _sum_blocks(
    part_ptr, out_ptr, rows, bound_0, bound_1, bound_2, bound_3, factor,
    WIDTH: tl.constexpr, MEMBERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    member = tl.program_id(1)
    begin = tl.where(member == 0, bound_0, tl.where(member == 1, bound_1, bound_2))
    end = tl.where(member == 0, bound_1, tl.where(member == 1, bound_2, bound_3))
    size = rows * WIDTH
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    total = tl.zeros([BLOCK], tl.float32)
    part_ptr += begin.to(tl.int64) * size + place
    for _part in range(begin, end):
        total += tl.load(part_ptr, mask=inside, other=0.0)
        part_ptr += size
    target = out_ptr + place // WIDTH * (MEMBERS * WIDTH) + member * WIDTH + place % WIDTH
    tl.store(target, (total * factor).to(out_ptr.dtype.element_ty), mask=inside)


def block_gradients(x: Tensor, up: Tensor, low: Tensor, bounds: tuple[int, ...], alpha: float) -> tuple[Tensor, Tensor]:
    """As ``stock.block_gradients``."""
    (rows, width), rank, members = x.shape, up.shape[0], len(bounds) - 1
    # a tile of columns must not reach over two members
    columns = min(_TILE["COLUMNS"], *(bound & -bound for bound in bounds[1:]))
    blocks, splits = triton.cdiv(width, columns), triton.cdiv(rows, _SPLIT)
    part = torch.empty(blocks, rows, rank, dtype=torch.float32, device=x.device)
    out = torch.empty(splits, width, rank, dtype=torch.float32, device=x.device)
    _block_gradients[(blocks, splits)](
        x, up, low, part, out, rows, width, _SPLIT, x.stride(0), low.stride(0), *(*bounds[1:-1], width, width)[:2],
        RANK=rank, PADDED=padded_rank(rank), PRECISION=precision(x), **{**_TILE, "COLUMNS": columns},
    )  # fmt: skip
    ends = [-(-bound // columns) for bound in bounds]
    back = torch.empty(rows, members * rank, dtype=x.dtype, device=x.device)
    _sum_blocks[(triton.cdiv(rows * rank, _SUM_BLOCK), members)](
        part, back, rows, *ends, *(ends[-1:] * (_MEMBERS - members)), alpha,
        WIDTH=rank, MEMBERS=members, BLOCK=_SUM_BLOCK, num_warps=4,
    )  # fmt: skip
    return back, summed(out, 1.0, torch.float32)


def summed(part: Tensor, factor: float, dtype: torch.dtype) -> Tensor:
    """Return the sum over the first dimension times ``factor``."""
    out = torch.empty(part.shape[1:], dtype=dtype, device=part.device)
    # the other dimensions count as rows of one value
    _sum_blocks[(triton.cdiv(out.numel(), _SUM_BLOCK), 1)](
        part, out, out.numel(), 0, part.shape[0], 0, 0, factor, WIDTH=1, MEMBERS=1, BLOCK=_SUM_BLOCK, num_warps=4
    )
    return out
