"""Dropout in Triton kernels, bit for bit that of ``dropout.keep_mask``: the mask of a tile, and dropout by itself."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN201, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.steps.dropout import Dropout
from medtune.accel.triton.use import launch

__all__ = ["draw_words", "drop", "dropout_arguments", "kept", "load_keys"]

_DROP = {"ROWS": 4, "COLUMNS": 512, "num_warps": 4}

_COLUMN_STEP = tl.constexpr(0x9E3779B1)
_MIX_1, _MIX_2 = tl.constexpr(0x85EBCA6B), tl.constexpr(0xC2B2AE35)


@triton.jit
def _mix(value):
    value = value ^ (value >> 16)
    value = value * _MIX_1
    value = value ^ (value >> 13)
    value = value * _MIX_2
    return value ^ (value >> 16)


@triton.jit
def load_keys(keys_ptr, row, rows):
    """Load what the masks of rows depend on, uint32 [ROWS]."""
    return tl.load(keys_ptr + row, mask=row < rows, other=0).to(tl.uint32)


@triton.jit
def draw_words(keys, column, seed):
    """Return a random word for every place of a tile, uint32 [ROWS, COLUMNS]; it serves two adapters.

    Args:
        keys: [ROWS] of its rows, from ``load_keys``.
        column: [COLUMNS] numbers of its columns.
        seed: of the two adapters.
    """
    key = _mix(keys ^ seed.to(tl.uint32))
    word = (key[:, None] + _mix(column.to(tl.uint32) ^ _COLUMN_STEP)[None, :]) * _MIX_1
    return (word ^ (word >> 15)) * _MIX_2


@triton.jit
def kept(words, member: tl.constexpr, threshold):
    """Return which places a member of the group keeps: those with a half word not below ``threshold``."""
    if member % 2 == 0:
        return (words & 0xFFFF) >= threshold.to(tl.uint32)
    return (words >> 16) >= threshold.to(tl.uint32)


@triton.jit(do_not_specialize=["rows", "seed", "threshold"])
def _drop(
    x_ptr, out_ptr, rows, width, keys_ptr, seed, threshold, factor,
    MEMBER: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (row[:, None] < rows) & (column[None, :] < width)
    place = row[:, None] * width + column[None, :]
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    keep = kept(draw_words(load_keys(keys_ptr, row, rows), column, seed), MEMBER, threshold)
    result = tl.where(keep, x.to(tl.float32) * factor, 0.0)
    tl.store(out_ptr + place, result.to(x.dtype), mask=inside)


def drop(x: Tensor, dropout: Dropout, member: int) -> Tensor:
    """Return what dropout leaves of ``x`` [..., width], for one member of its group."""
    x = x.contiguous()
    width = x.shape[-1]
    rows, out = x.numel() // width, torch.empty_like(x)
    launch(_drop, (triton.cdiv(rows, _DROP["ROWS"]), triton.cdiv(width, _DROP["COLUMNS"])))(
        x, out, rows, width, dropout.keys, dropout.seeds[member // 2], dropout.threshold, dropout.factor,
        MEMBER=member % 2, **_DROP,
    )  # fmt: skip
    return out


def dropout_arguments(dropout: Dropout | None, anything: Tensor) -> tuple[Any, ...]:
    """Return keys of the rows, two seeds, threshold and factor as kernels take them.

    Args:
        dropout: None for no dropout.
        anything: a tensor that stands for the keys then; it is not read.
    """
    if dropout is None:
        return anything, 0, 0, 0, 1.0
    first, second = (*dropout.seeds, 0)[:2]
    return dropout.keys, first, second, dropout.threshold, dropout.factor
