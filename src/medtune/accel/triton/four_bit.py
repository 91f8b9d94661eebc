"""Triton kernel that dequantizes 4-bit weights of bitsandbytes, their twice quantized scales included, in one pass."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.triton.use import launch

__all__ = ["dequantize"]

_TILE = {"BYTES": 2048, "num_warps": 4}


@triton.jit
def _dequantize(
    packed_ptr, scale_ptr, code_ptr, scale_code_ptr, scale_scale_ptr, offset_ptr, out_ptr, blocks,
    NESTED: tl.constexpr, PER_SCALE: tl.constexpr, HALF_BLOCK: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0) * BLOCKS + tl.arange(0, BLOCKS)
    exists = block < blocks
    if NESTED:
        number = tl.load(scale_ptr + block, mask=exists, other=0).to(tl.int32)
        outer = tl.load(scale_scale_ptr + block // PER_SCALE, mask=exists, other=0.0)
        scale = tl.load(scale_code_ptr + number) * outer + tl.load(offset_ptr)
    else:
        scale = tl.load(scale_ptr + block, mask=exists, other=0.0)
    place = block[:, None] * HALF_BLOCK + tl.arange(0, HALF_BLOCK)[None, :]
    packed = tl.load(packed_ptr + place, mask=exists[:, None], other=0).to(tl.int32)
    first = tl.load(code_ptr + (packed >> 4)) * scale[:, None]
    second = tl.load(code_ptr + (packed & 15)) * scale[:, None]
    kind = out_ptr.dtype.element_ty
    both = tl.interleave(first.to(kind), second.to(kind))
    target = block[:, None] * (2 * HALF_BLOCK) + tl.arange(0, 2 * HALF_BLOCK)[None, :]
    tl.store(out_ptr + target, both, mask=exists[:, None])


def dequantize(packed: Tensor, state: Any, out: Tensor) -> bool:
    """Dequantize a weight into ``out`` and say whether that was done: not where its values do not fill all blocks.

    Args:
        packed: uint8, two values a byte, the first one in the high half.
        state: bitsandbytes' ``QuantState`` of the weight.
        out: contiguous, of the weight's shape.
    """
    size, width = int(state.blocksize), out.numel()
    if width % size or packed.numel() * 2 != width or not out.is_contiguous():
        return False
    inner, blocks = state.state2 if state.nested else None, width // size
    tile = max(1, _TILE["BYTES"] * 2 // size)
    launch(_dequantize, (triton.cdiv(blocks, tile),))(
        packed, state.absmax, state.code, inner.code if inner else state.code, inner.absmax if inner else state.code,
        state.offset if inner else state.code, out, blocks,
        NESTED=inner is not None, PER_SCALE=int(inner.blocksize) if inner else 1, HALF_BLOCK=size // 2, BLOCKS=tile,
        num_warps=_TILE["num_warps"],
    )  # fmt: skip
    return True
