"""Triton kernels of attention from the new tokens of each sequence to the keys and values kept for it."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does
# ruff: noqa: PLR0915 - what a kernel keeps in registers cannot be handed on

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.model.heads import Heads, Window
from medtune.accel.triton.device import shared_memory
from medtune.accel.triton.use import launch

__all__ = ["attend"]

_BLOCK = 64
_WARPS = 4
_SMALLEST_DOT = 16
_MANY_QUERIES = 32
_LOWEST = tl.constexpr(-1e30)
_PROGRAMS = 528
"""Programs that fill a large GPU four times over; fewer sequences are split to get there."""
_MOST_SPLITS = 16
_MOST_STAGES = 3
_KEPT_SHARED = 8 * 1024


@triton.jit
def _among_new(
    q, source, keys_ptr, values_ptr, head, step, scale, window,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,
    NEW: tl.constexpr, NEW_PADDED: tl.constexpr,
):  # fmt: skip
    """Keep several new tokens, and attend from each to those up to itself."""
    column = tl.arange(0, WIDTH)
    new = tl.arange(0, NEW_PADDED)
    inside = (new < NEW)[:, None]
    tile = new[:, None] * ((QUERIES + 2 * KEYS) * WIDTH) + column[None, :]
    key = tl.load(source + (QUERIES + head) * WIDTH + tile, mask=inside, other=0.0)
    value = tl.load(source + (QUERIES + KEYS + head) * WIDTH + tile, mask=inside, other=0.0)
    kept = new[:, None] * WIDTH + column[None, :]
    tl.store(keys_ptr + kept, key, mask=inside)
    tl.store(values_ptr + kept, value, mask=inside)
    score = tl.dot(q, tl.trans(key), input_precision=PRECISION) * scale
    seen = (new[None, :] <= step[:, None]) & (new[None, :] > step[:, None] - window) & (new < NEW)[None, :]
    # padding looks at the first new token, so that its sum is not empty either
    seen = seen | ((step[:, None] >= NEW) & (new == 0)[None, :])
    score = tl.where(seen, score, float("-inf"))
    highest = tl.max(score, 1)
    weight = tl.exp(score - highest[:, None])
    return highest, tl.sum(weight, 1), tl.dot(weight.to(value.dtype), value, input_precision=PRECISION)


# One function: scores, their running maximum and the weighted values stay in registers.
@triton.jit
def _attend(
    qkv_ptr, keys_ptr, values_ptr, lengths_ptr, out_ptr, parts_ptr, weights_ptr, slot_stride, head_stride, scale, window,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, GROUP: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS: tl.constexpr, PRECISION: tl.constexpr, NEW: tl.constexpr, NEW_PADDED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths_ptr + row)
    column = tl.arange(0, WIDTH)
    member = tl.arange(0, PADDED)
    step = member // GROUP  # which of the new tokens a query is of
    source = qkv_ptr + row * (NEW * (QUERIES + 2 * KEYS) * WIDTH)
    place = row * slot_stride + head * head_stride
    inside_group = (member < NEW * GROUP)[:, None]
    from_query = step * ((QUERIES + 2 * KEYS) * WIDTH) + (head * GROUP + member % GROUP) * WIDTH
    q = tl.load(source + from_query[:, None] + column[None, :], mask=inside_group, other=0.0)
    first = tl.maximum(length + 1 - window, 0)
    span = tl.cdiv(tl.cdiv(length - first, BLOCK), SPLITS) * BLOCK
    begin = first + split * span
    end = tl.minimum(begin + span, length)
    highest = tl.full([PADDED], float("-inf"), tl.float32)
    total = tl.zeros([PADDED], tl.float32)
    result = tl.zeros([PADDED, WIDTH], tl.float32)
    if split == 0:
        # the new tokens: kept for later steps, and the first ones attended to, so that no sum is empty
        if NEW == 1:
            key = tl.load(source + (QUERIES + head) * WIDTH + column)
            value = tl.load(source + (QUERIES + KEYS + head) * WIDTH + column)
            tl.store(keys_ptr + place + length * WIDTH + column, key)
            tl.store(values_ptr + place + length * WIDTH + column, value)
            highest = tl.sum(q.to(tl.float32) * key.to(tl.float32)[None, :], 1) * scale
            total += 1.0
            result += value.to(tl.float32)[None, :]
        else:
            highest, total, result = _among_new(
                q, source, keys_ptr + place + length * WIDTH, values_ptr + place + length * WIDTH, head, step, scale, window,
                QUERIES, KEYS, WIDTH, PRECISION, NEW, NEW_PADDED,
            )  # fmt: skip
    for start in range(begin, end, BLOCK):
        token = start + tl.arange(0, BLOCK)
        inside = token < end
        tile = place + token[:, None] * WIDTH + column[None, :]
        key = tl.load(keys_ptr + tile, mask=inside[:, None], other=0.0)
        value = tl.load(values_ptr + tile, mask=inside[:, None], other=0.0)
        score = tl.dot(q, tl.trans(key), input_precision=PRECISION) * scale
        seen = inside[None, :] & (token[None, :] > (length + step - window)[:, None])
        score = tl.where(seen, score, float("-inf"))
        # a later one of several new tokens may see nothing of the first block that an earlier one sees
        higher = tl.maximum(tl.maximum(highest, tl.max(score, 1)), _LOWEST)
        weight = tl.exp(score - higher[:, None])
        shrink = tl.exp(highest - higher)
        total = total * shrink + tl.sum(weight, 1)
        result = result * shrink[:, None] + tl.dot(weight.to(value.dtype), value, input_precision=PRECISION)
        highest = higher
    query = row * (NEW * QUERIES) + step * QUERIES + head * GROUP + member % GROUP
    if SPLITS == 1:
        target = out_ptr + query[:, None] * WIDTH + column[None, :]
        tl.store(target, (result / total[:, None]).to(out_ptr.dtype.element_ty), mask=inside_group)
    else:
        part = query * SPLITS + split
        tl.store(parts_ptr + part[:, None] * WIDTH + column[None, :], result, mask=inside_group)
        tl.store(weights_ptr + part * 2, highest, mask=member < NEW * GROUP)
        tl.store(weights_ptr + part * 2 + 1, total, mask=member < NEW * GROUP)


@triton.jit
def _combine(parts_ptr, weights_ptr, out_ptr, WIDTH: tl.constexpr, SPLITS: tl.constexpr, PADDED: tl.constexpr):
    query = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, WIDTH)
    split = tl.arange(0, PADDED)
    there = split < SPLITS
    part = query * SPLITS + split
    highest = tl.load(weights_ptr + part * 2, mask=there, other=float("-inf"))
    total = tl.load(weights_ptr + part * 2 + 1, mask=there, other=0.0)
    shrink = tl.exp(highest - tl.max(highest, 0))
    tile = tl.load(parts_ptr + part[:, None] * WIDTH + column[None, :], mask=there[:, None], other=0.0)
    result = tl.sum(tile * shrink[:, None], 0) / tl.sum(total * shrink, 0)
    tl.store(out_ptr + query * WIDTH + column, result.to(out_ptr.dtype.element_ty))


def _stages(qkv: Tensor, width: int, queries: int) -> int:
    """Return how many blocks of keys and values may be under way at once, by the chip's shared memory."""
    memory = shared_memory(qkv.device)
    if memory is None:
        return _MOST_STAGES
    block = 2 * _BLOCK * width * qkv.itemsize
    kept = max(_KEPT_SHARED, 2 * queries * width * qkv.itemsize)
    return max(1, min(_MOST_STAGES, (memory - kept) // block))


def attend(qkv: Tensor, kept: tuple[Tensor, Tensor], lengths: Tensor, heads: Heads, window: Window) -> Tensor:
    """As ``SlotCache.attend``; ``kept`` are keys and values [slots, key heads, capacity, width] of one layer."""
    return attend_block(qkv, kept, lengths, heads, window)


def attend_block(qkv: Tensor, kept: tuple[Tensor, Tensor], lengths: Tensor, heads: Heads, window: Window) -> Tensor:
    """As ``SlotCache.attend_block`` where each slot has equally many new tokens: those of ``qkv`` over those of ``lengths``."""
    keys, values = kept
    rows, group = len(lengths), heads.queries // heads.keys
    new, capacity = qkv.shape[0] // rows, keys.shape[2]
    splits = max(1, min(_PROGRAMS // (rows * heads.keys), _MOST_SPLITS, capacity // (2 * _BLOCK)))
    out = torch.empty(len(qkv), heads.queries * heads.width, dtype=qkv.dtype, device=qkv.device)
    parts = weights = out
    if splits > 1:
        count = len(qkv) * heads.queries * splits
        parts = torch.empty(count, heads.width, dtype=torch.float32, device=qkv.device)
        weights = torch.empty(count, 2, dtype=torch.float32, device=qkv.device)
    padded = max(_SMALLEST_DOT, triton.next_power_of_2(new * group))
    launch(_attend, (rows, heads.keys, splits))(
        qkv, keys, values, lengths, out, parts, weights, keys.stride(0), keys.stride(1), window.scale,
        capacity + 1 if window.tokens is None else window.tokens,
        QUERIES=heads.queries, KEYS=heads.keys, GROUP=group, PADDED=padded, WIDTH=heads.width, BLOCK=_BLOCK,
        SPLITS=splits, PRECISION="ieee" if qkv.dtype == torch.float32 else "tf32",
        NEW=new, NEW_PADDED=max(_SMALLEST_DOT, triton.next_power_of_2(new)),
        num_warps=_WARPS if padded <= _MANY_QUERIES else 2 * _WARPS, num_stages=_stages(qkv, heads.width, padded),
    )  # fmt: skip
    if splits > 1:
        launch(_combine, (len(qkv) * heads.queries,))(
            parts, weights, out, WIDTH=heads.width, SPLITS=splits, PADDED=triton.next_power_of_2(splits)
        )
    return out
