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

from medtune.kernels.dropout import Dropout

__all__ = ["dropout_arguments", "keep_tile"]

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
def keep_tile(row, column, step_seed_ptr, member_seed, threshold):
    """Return which inputs of a tile are kept.

    Args:
        row: [ROWS] numbers of its rows.
        column: [COLUMNS] numbers of its columns.
        step_seed_ptr: where the seed of the micro-batch lies.
        member_seed: of the adapter.
        threshold: hashes below it are dropped.
    """
    step_seed = tl.load(step_seed_ptr).to(tl.uint32)
    key = _mix(_mix(row.to(tl.uint32) ^ step_seed) ^ member_seed.to(tl.uint32))
    value = _mix(key[:, None] + column.to(tl.uint32)[None, :] * _COLUMN_STEP)
    return value.to(tl.int64) >= threshold.to(tl.int64)


def dropout_arguments(dropout: Dropout | None, anything: Tensor) -> tuple[Any, ...]:
    """Return step seed, first row, three member seeds, threshold and factor as kernels take them.

    Args:
        dropout: None for no dropout.
        anything: a tensor that stands for the seed then; it is not read.
    """
    if dropout is None:
        return anything, 0, 0, 0, 0, 0, 1.0
    seeds = (*dropout.member_seeds, 0, 0)[:3]
    return dropout.step_seed, dropout.first_row, *seeds, dropout.threshold, dropout.factor
