"""The dropout mask of a tile inside a Triton kernel, bit for bit that of ``dropout.keep_mask``."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN201, ANN202 - kernels name their arguments as Triton does

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.steps.dropout import Dropout

__all__ = ["draw_words", "dropout_arguments", "kept"]

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
def draw_words(row, column, step_seed_ptr, seed):
    """Return a random word for every place of a tile, uint32 [ROWS, COLUMNS]; it serves two adapters.

    Args:
        row: [ROWS] numbers of its rows.
        column: [COLUMNS] numbers of its columns.
        step_seed_ptr: where the seed of the micro-batch lies.
        seed: of the two adapters.
    """
    step_seed = tl.load(step_seed_ptr).to(tl.uint32)
    key = _mix(_mix(row.to(tl.uint32) ^ step_seed) ^ seed.to(tl.uint32))
    word = (key[:, None] + _mix(column.to(tl.uint32) ^ _COLUMN_STEP)[None, :]) * _MIX_1
    return (word ^ (word >> 15)) * _MIX_2


@triton.jit
def kept(words, member: tl.constexpr, threshold):
    """Return which places a member of the group keeps: those with a half word not below ``threshold``."""
    if member % 2 == 0:
        return (words & 0xFFFF) >= threshold.to(tl.uint32)
    return (words >> 16) >= threshold.to(tl.uint32)


def dropout_arguments(dropout: Dropout | None, anything: Tensor) -> tuple[Any, ...]:
    """Return step seed, first row, two seeds, threshold and factor as kernels take them.

    Args:
        dropout: None for no dropout.
        anything: a tensor that stands for the seed then; it is not read.
    """
    if dropout is None:
        return anything, 0, 0, 0, 0, 1.0
    first, second = (*dropout.seeds, 0)[:2]
    return dropout.step_seed, dropout.first_row, first, second, dropout.threshold, dropout.factor
