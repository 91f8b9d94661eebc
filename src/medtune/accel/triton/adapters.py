"""Triton kernels of the adapters' thin products, with dropout drawn inside."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.steps.dropout import Dropout
from medtune.accel.triton.blocks import add_sum
from medtune.accel.triton.device import has_fast_dots
from medtune.accel.triton.dots import SMALLEST_DOT, padded_rank, precision
from medtune.accel.triton.dropout import draw_words, dropout_arguments, kept, load_keys
from medtune.accel.triton.use import launch

__all__ = ["add_projected", "project", "weight_gradient"]

_PROJECT = {"ROWS": 16, "COLUMNS": 128, "num_warps": 2, "num_stages": 5}
_GRADIENT = {"ROWS": 64, "COLUMNS": 128, "num_warps": 8, "num_stages": 3}
_ADD = {"ROWS": 32, "COLUMNS": 128, "num_warps": 4}
_SLOW_PROJECT = {"ROWS": 16, "COLUMNS": 32, "num_warps": 4, "num_stages": 2}
_SLOW_GRADIENT = {"ROWS": 16, "COLUMNS": 128, "num_warps": 8, "num_stages": 2}
_SLOW_ADD = {"ROWS": 16, "COLUMNS": 32, "num_warps": 4}
"""Without fast dots: the widest of a few that spill nothing."""
_ROWS_PER_SPLIT = 512
_TOGETHER, _PORTION = 32, 64
"""Most ranks in one pass, with dropout and without."""


@triton.jit(do_not_specialize=["rows", "seed_0", "seed_1", "threshold"])
def _project(
    x_ptr, down_ptr, out_ptr, rows, width, x_row, out_row, alpha,
    keys_ptr, seed_0, seed_1, threshold, factor,
    RANK: tl.constexpr, PADDED: tl.constexpr, FIRST: tl.constexpr, MEMBERS: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    rank = tl.arange(0, PADDED)
    total = tl.zeros([ROWS, PADDED], tl.float32)
    if MEMBERS > 0:
        keys = load_keys(keys_ptr, row, rows)
    for start in range(0, width, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        inside = (row[:, None] < rows) & (column[None, :] < width)
        x = tl.load(x_ptr + row[:, None] * x_row + column[None, :], mask=inside, other=0.0)
        down_place = down_ptr + rank[None, :] * width + column[:, None]
        down = tl.load(down_place, mask=(column[:, None] < width) & (rank[None, :] < RANK), other=0.0)
        if MEMBERS == 0:
            total += tl.dot(x, down, input_precision=PRECISION)
        for member in tl.static_range(FIRST, FIRST + MEMBERS):
            if member % 2 == 0 or member == FIRST:
                words = draw_words(keys, column, seed_1 if member // 2 else seed_0)
            left = tl.where(kept(words, member, threshold), x, 0.0)
            right = tl.where(rank[None, :] // (RANK // MEMBERS) == member - FIRST, down, 0.0)
            total += tl.dot(left, right, input_precision=PRECISION)
    place = out_ptr + row[:, None] * out_row + rank[None, :]
    result = (total * (alpha * factor)).to(out_ptr.dtype.element_ty)
    tl.store(place, result, mask=(row[:, None] < rows) & (rank[None, :] < RANK))


@triton.jit(do_not_specialize=["rows", "seed_0", "seed_1", "threshold"])
def _weight_gradient(
    x_ptr, low_ptr, scale_ptr, weight_ptr, out_ptr, rows, width, x_row, low_row,
    keys_ptr, seed_0, seed_1, threshold, factor,
    RANK: tl.constexpr, PADDED: tl.constexpr, FIRST: tl.constexpr, MEMBERS: tl.constexpr, NORM: tl.constexpr,
    PRECISION: tl.constexpr, SPLIT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    split = tl.program_id(1).to(tl.int64)
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
        low_place = low_ptr + row[:, None] * low_row + rank[None, :]
        low = tl.load(low_place, mask=(row[:, None] < rows) & (rank[None, :] < RANK), other=0.0)
        if MEMBERS == 0:
            total += tl.dot(tl.trans(x), low, input_precision=PRECISION)
        else:
            keys = load_keys(keys_ptr, row, rows)
        for member in tl.static_range(FIRST, FIRST + MEMBERS):
            if member % 2 == 0 or member == FIRST:
                words = draw_words(keys, column, seed_1 if member // 2 else seed_0)
            left = tl.where(kept(words, member, threshold), x, 0.0)
            right = tl.where(rank[None, :] // (RANK // MEMBERS) == member - FIRST, low, 0.0)
            total += tl.dot(tl.trans(left), right, input_precision=PRECISION)
    place = out_ptr + (split * RANK + rank[None, :]) * width + column[:, None]
    tl.store(place, total * factor, mask=(column[:, None] < width) & (rank[None, :] < RANK))


@triton.jit(do_not_specialize=["rows", "seed_0", "seed_1", "threshold"])
def _add_projected(
    y_ptr, low_ptr, down_ptr, rows, width, low_row, keys_ptr, seed_0, seed_1, threshold, factor,
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
    if DROP:
        keys = load_keys(keys_ptr, row, rows)
    for member in tl.static_range(MEMBERS):
        left = tl.load(low_ptr + row[:, None] * low_row + member * RANK + rank[None, :], mask=left_inside, other=0.0)
        right_place = down_ptr + (member * RANK + rank[:, None]) * width + column[None, :]
        right = tl.load(right_place, mask=right_inside, other=0.0)
        through = tl.dot(left, right, input_precision=PRECISION)
        if DROP:
            if member % 2 == 0:
                words = draw_words(keys, column, seed_0 if member == 0 else seed_1)
            through = tl.where(kept(words, member, threshold), through * factor, 0.0)
        total += through
    tl.store(place, total.to(y_ptr.dtype.element_ty), mask=inside)


def project(x: Tensor, down: Tensor, alpha: float, dropout: Dropout | None) -> Tensor:
    """As ``reference.project``."""
    rows, width = x.shape
    out = torch.empty(rows, down.shape[0], dtype=x.dtype, device=x.device)
    tile = _PROJECT if has_fast_dots(x.device) else _SLOW_PROJECT
    for first, members, begin, end in _parts(down.shape[0], dropout):
        rank, part = end - begin, out[:, begin:]
        launch(_project, (triton.cdiv(rows, tile["ROWS"]),))(
            x, down[begin:end], part, rows, width, x.stride(0), out.stride(0), alpha, *dropout_arguments(dropout, x),
            RANK=rank, PADDED=padded_rank(rank), FIRST=first, MEMBERS=members, PRECISION=precision(x),
            **_staged(tile, rank),
        )  # fmt: skip
    return out


def add_projected(y: Tensor, low: Tensor, down: Tensor, dropout: Dropout | None) -> None:
    """As ``reference.add_projected``."""
    rows, width = y.shape
    members = dropout.members if dropout else 1
    rank = down.shape[0] // members
    if dropout is None and rank > SMALLEST_DOT:
        y.addmm_(low, down)
        return
    tile = _ADD if has_fast_dots(y.device) else _SLOW_ADD
    launch(_add_projected, (triton.cdiv(width, tile["COLUMNS"]), triton.cdiv(rows, tile["ROWS"])))(
        y, low, down, rows, width, low.stride(0), *dropout_arguments(dropout, y),
        RANK=rank, PADDED=padded_rank(rank), MEMBERS=members, DROP=dropout is not None, PRECISION=precision(y), **tile,
    )  # fmt: skip


def weight_gradient(
    x: Tensor, low: Tensor, dropout: Dropout | None, normed: tuple[Tensor, Tensor] | None, into: Tensor
) -> None:
    """As ``reference.weight_gradient``."""
    rows, width = x.shape
    splits, scale_weight = triton.cdiv(rows, _ROWS_PER_SPLIT), normed or (x, x)
    tile = _GRADIENT if has_fast_dots(x.device) else _SLOW_GRADIENT
    for first, members, begin, end in _parts(low.shape[1], dropout):
        rank = end - begin
        out = torch.empty(splits, rank, width, dtype=torch.float32, device=x.device)
        launch(_weight_gradient, (triton.cdiv(width, tile["COLUMNS"]), splits))(
            x, low[:, begin:], *scale_weight, out, rows, width, x.stride(0), low.stride(0), *dropout_arguments(dropout, x),
            RANK=rank, PADDED=padded_rank(rank), FIRST=first, MEMBERS=members, NORM=normed is not None,
            PRECISION=precision(x), SPLIT=_ROWS_PER_SPLIT, **_staged(tile, rank),
        )  # fmt: skip
        add_sum(out, into[begin:end])


def _parts(ranks: int, dropout: Dropout | None) -> list[tuple[int, int, int, int]]:
    """Return which ranks are worked on together: first member and members that drop, first rank and end.

    Few go in one pass over the input. More would not fit a program's registers: then every member that drops has a pass of
    its own, and others go in portions.
    """
    members = dropout.members if dropout else 0
    if ranks <= (_TOGETHER if members else _PORTION):
        return [(0, members, 0, ranks)]
    size = ranks // members if members else _PORTION
    starts = range(0, ranks, size)
    return [(i if members else 0, min(members, 1), a, min(a + size, ranks)) for i, a in enumerate(starts)]


def _staged(tile: dict[str, int], rank: int) -> dict[str, int]:
    """Return the tile with fewer stages where a high rank fills the shared memory."""
    return tile if rank <= 32 else {**tile, "num_stages": 2}  # noqa: PLR2004 - measured with ranks up to 32
