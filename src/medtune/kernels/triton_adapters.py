"""Triton kernels of the adapters' thin products, with dropout drawn inside."""
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
from medtune.kernels.triton_dots import SMALLEST_DOT, padded_rank, precision
from medtune.kernels.triton_dropout import draw_words, dropout_arguments, kept

__all__ = ["add_projected", "project", "project_blocks", "weight_gradient", "weight_gradient_blocks"]

_PROJECT = {"ROWS": 16, "COLUMNS": 128, "num_warps": 2, "num_stages": 5}
_GRADIENT = {"ROWS": 64, "COLUMNS": 128, "num_warps": 8, "num_stages": 3}
_ADD = {"ROWS": 32, "COLUMNS": 128, "num_warps": 4}
_ROWS_PER_SPLIT = 512


@triton.jit
def _pick(index, a, b, c):
    return tl.where(index == 0, a, tl.where(index == 1, b, c))


@triton.jit(do_not_specialize=["rows", "first_row", "seed_0", "seed_1", "threshold"])
def _project(
    x_ptr, m_ptr, out_ptr, rows, x_row, m_column, m_rank, out_row, bound_0, bound_1, bound_2, bound_3, alpha,
    step_seed_ptr, first_row, seed_0, seed_1, threshold, factor,
    RANK: tl.constexpr, PADDED: tl.constexpr, MEMBERS: tl.constexpr, BLOCKS: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    rank = tl.arange(0, PADDED)
    begin = _pick(block, bound_0, bound_1, bound_2) if BLOCKS else bound_0
    end = _pick(block, bound_1, bound_2, bound_3) if BLOCKS else bound_1
    total = tl.zeros([ROWS, PADDED], tl.float32)
    for start in range(begin, end, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        inside = (row[:, None] < rows) & (column[None, :] < end)
        x = tl.load(x_ptr + row[:, None] * x_row + column[None, :], mask=inside, other=0.0)
        m_place = m_ptr + column[:, None].to(tl.int64) * m_column + rank[None, :] * m_rank
        m = tl.load(m_place, mask=(column[:, None] < end) & (rank[None, :] < RANK), other=0.0)
        if MEMBERS == 0:
            total += tl.dot(x, m, input_precision=PRECISION)
        for member in tl.static_range(MEMBERS):
            if member % 2 == 0:
                words = draw_words(row + first_row, column, step_seed_ptr, seed_0 if member == 0 else seed_1)
            left = tl.where(kept(words, member, threshold), x, 0.0)
            right = tl.where(rank[None, :] // (RANK // MEMBERS) == member, m, 0.0)
            total += tl.dot(left, right, input_precision=PRECISION)
    place = out_ptr + row[:, None] * out_row + block * RANK + rank[None, :]
    result = (total * (alpha * factor)).to(out_ptr.dtype.element_ty)
    tl.store(place, result, mask=(row[:, None] < rows) & (rank[None, :] < RANK))


@triton.jit(do_not_specialize=["rows", "first_row", "seed_0", "seed_1", "threshold"])
def _weight_gradient(
    x_ptr, low_ptr, scale_ptr, weight_ptr, out_ptr, rows, width, x_row, low_row, out_split, out_column, out_rank,
    bound_1, bound_2, step_seed_ptr, first_row, seed_0, seed_1, threshold, factor,
    RANK: tl.constexpr, PADDED: tl.constexpr, MEMBERS: tl.constexpr, NORM: tl.constexpr, BLOCKS: tl.constexpr,
    PRECISION: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    split = tl.program_id(1).to(tl.int64)
    block = 0
    if BLOCKS:
        begin = tl.program_id(0) * COLUMNS
        block = (begin >= bound_1).to(tl.int32) + (begin >= bound_2).to(tl.int32)
    rank = tl.arange(0, PADDED)
    total = tl.zeros([COLUMNS, PADDED], tl.float32)
    for start in range(0, SPLIT, ROWS):
        row = split * SPLIT + start + tl.arange(0, ROWS)
        inside = (row[:, None] < rows) & (column[None, :] < width)
        x = tl.load(x_ptr + row[:, None] * x_row + column[None, :], mask=inside, other=0.0)
        if NORM:
            scale = tl.load(scale_ptr + row, mask=row < rows, other=0.0)
            weight = tl.load(weight_ptr + column, mask=column < width, other=0.0)
            direction = (x.to(tl.float32) * scale[:, None]).to(x.dtype)
            x = (direction.to(tl.float32) * weight[None, :].to(tl.float32)).to(x.dtype)
        low_place = low_ptr + row[:, None] * low_row + block * RANK + rank[None, :]
        low = tl.load(low_place, mask=(row[:, None] < rows) & (rank[None, :] < RANK), other=0.0)
        if MEMBERS == 0:
            total += tl.dot(tl.trans(x), low, input_precision=PRECISION)
        for member in tl.static_range(MEMBERS):
            if member % 2 == 0:
                words = draw_words(row + first_row, column, step_seed_ptr, seed_0 if member == 0 else seed_1)
            left = tl.where(kept(words, member, threshold), x, 0.0)
            right = tl.where(rank[None, :] // (RANK // MEMBERS) == member, low, 0.0)
            total += tl.dot(tl.trans(left), right, input_precision=PRECISION)
    place = out_ptr + split * out_split + column[:, None].to(tl.int64) * out_column + rank[None, :] * out_rank
    tl.store(place, total * factor, mask=(column[:, None] < width) & (rank[None, :] < RANK))


@triton.jit(do_not_specialize=["rows", "first_row", "seed_0", "seed_1", "threshold"])
def _add_projected(
    y_ptr, low_ptr, down_ptr, rows, width, low_row, step_seed_ptr, first_row, seed_0, seed_1, threshold, factor,
    RANK: tl.constexpr, PADDED: tl.constexpr, MEMBERS: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < width)
    rank = tl.arange(0, PADDED)
    left_inside = (row[:, None] < rows) & (rank[None, :] < RANK)
    right_inside = (column[None, :] < width) & (rank[:, None] < RANK)
    place = y_ptr + row[:, None] * width + column[None, :]
    total = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    for member in tl.static_range(MEMBERS):
        left = tl.load(low_ptr + row[:, None] * low_row + member * RANK + rank[None, :], mask=left_inside, other=0.0)
        right_place = down_ptr + (member * RANK + rank[:, None]) * width + column[None, :]
        right = tl.load(right_place, mask=right_inside, other=0.0)
        through = tl.dot(left, right, input_precision=PRECISION)
        if DROP:
            if member % 2 == 0:
                words = draw_words(row + first_row, column, step_seed_ptr, seed_0 if member == 0 else seed_1)
            through = tl.where(kept(words, member, threshold), through * factor, 0.0)
        total += through
    tl.store(place, total.to(y_ptr.dtype.element_ty), mask=inside)


def project(x: Tensor, down: Tensor, alpha: float, dropout: Dropout | None) -> Tensor:
    """As ``stock.project``."""
    width = x.shape[1]
    return _run_project(x, down, (1, width), (0, width, width, width), (1, down.shape[0]), alpha, dropout)


def project_blocks(x: Tensor, up: Tensor, bounds: tuple[int, ...], alpha: float) -> Tensor:
    """As ``stock.project_blocks``."""
    padded = (*bounds, *(bounds[-1:] * (4 - len(bounds))))
    return _run_project(x, up, (1, x.shape[1]), padded, (len(bounds) - 1, up.shape[0]), alpha, None)


def _run_project(
    x: Tensor, m: Tensor, strides: tuple[int, int], bounds: tuple[int, ...], parts: tuple[int, int], alpha: float,
    dropout: Dropout | None,
) -> Tensor:  # fmt: skip
    rows = x.shape[0]
    blocks, rank = parts
    out = torch.empty(rows, blocks * rank, dtype=x.dtype, device=x.device)
    _project[(blocks, triton.cdiv(rows, _PROJECT["ROWS"]))](
        x, m, out, rows, x.stride(0), *strides, out.stride(0), *bounds, alpha, *dropout_arguments(dropout, x),
        RANK=rank, PADDED=padded_rank(rank), MEMBERS=dropout.members if dropout else 0, BLOCKS=blocks > 1,
        PRECISION=precision(x), **_staged(_PROJECT, rank),
    )  # fmt: skip
    return out


def add_projected(y: Tensor, low: Tensor, down: Tensor, dropout: Dropout | None) -> None:
    """As ``stock.add_projected``."""
    rows, width = y.shape
    members = dropout.members if dropout else 1
    rank = down.shape[0] // members
    if dropout is None and rank > SMALLEST_DOT:
        y.addmm_(low, down)
        return
    _add_projected[(triton.cdiv(width, _ADD["COLUMNS"]), triton.cdiv(rows, _ADD["ROWS"]))](
        y, low, down, rows, width, low.stride(0), *dropout_arguments(dropout, y),
        RANK=rank, PADDED=padded_rank(rank), MEMBERS=members, DROP=dropout is not None, PRECISION=precision(y), **_ADD,
    )  # fmt: skip


def weight_gradient(
    x: Tensor, low: Tensor, dropout: Dropout | None, normed: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """As ``stock.weight_gradient``."""
    width, total = x.shape[1], low.shape[1]
    return _run_weight_gradient(x, low, ((total, width), (1, width)), total, dropout, normed, bounds=None)


def weight_gradient_blocks(x: Tensor, low: Tensor, bounds: tuple[int, ...]) -> Tensor:
    """As ``stock.weight_gradient_blocks``."""
    rank = low.shape[1] // (len(bounds) - 1)
    return _run_weight_gradient(x, low, ((x.shape[1], rank), (rank, 1)), rank, None, None, bounds=bounds)


def _run_weight_gradient(
    x: Tensor, low: Tensor, place: tuple[tuple[int, int], tuple[int, int]], rank: int,
    dropout: Dropout | None, normed: tuple[Tensor, Tensor] | None, *, bounds: tuple[int, ...] | None,
) -> Tensor:  # fmt: skip
    rows, width = x.shape
    shape, strides = place
    # a tile of columns must not reach over two members
    columns = min(_GRADIENT["COLUMNS"], *(bound & -bound for bound in (bounds or ())[1:]), _GRADIENT["COLUMNS"])
    splits = triton.cdiv(rows, _ROWS_PER_SPLIT)
    out = torch.empty(splits, *shape, dtype=torch.float32, device=x.device)
    scale, weight = normed or (x, x)
    starts = (*bounds[1:-1], width, width)[:2] if bounds else (width, width)
    _weight_gradient[(triton.cdiv(width, columns), splits)](
        x, low, scale, weight, out, rows, width, x.stride(0), low.stride(0), out.stride(0), *strides, *starts,
        *dropout_arguments(dropout, x),
        RANK=rank, PADDED=padded_rank(rank), MEMBERS=dropout.members if dropout else 0, NORM=normed is not None,
        BLOCKS=bounds is not None, PRECISION=precision(x), SPLIT=_ROWS_PER_SPLIT,
        **{**_staged(_GRADIENT, rank), "COLUMNS": columns},
    )  # fmt: skip
    return out.sum(0) if splits > 1 else out[0]


def _staged(tile: dict[str, int], rank: int) -> dict[str, int]:
    """Return the tile with fewer stages where a high rank fills the shared memory."""
    return tile if rank <= 32 else {**tile, "num_stages": 2}  # noqa: PLR2004 - measured with ranks up to 32
