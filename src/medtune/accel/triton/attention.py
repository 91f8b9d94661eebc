"""Triton kernel of causal attention within the samples of a packed batch.

Query heads that share a key head are worked on as one tile, so that short samples fill it.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.triton.device import has_fast_dots
from medtune.accel.triton.tiles import (
    LOG2,
    compiled_for,
    find_piece,
    key_range,
    masked_from,
    most_tiles,
    packed_heads,
    packed_queries,
    row_stride,
    shared_tile,
    tile_of,
    visible,
)
from medtune.accel.triton.use import launch

__all__ = ["attend", "is_fit"]

_WIDTHS = (16, 32, 64, 128)
_TILE = {"ROWS": 128, "COLUMNS": 32, "num_warps": 4, "num_stages": 4}
"""Queries (positions times packed heads) and keys that a program works on at once: the fastest of a dozen on an H200."""
_MASKED, _UNSEEN = tl.constexpr(-1.0e30), tl.constexpr(-1.0e29)


@triton.jit
def _soften(
    q, k_ptr, v_ptr, query, highest, total, result, start, tokens, k_row, v_row, scale, sliding_window,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Take the keys from ``start`` into a running softmax, base 2."""
    column = tl.arange(0, WIDTH)
    key = start + tl.arange(0, COLUMNS)
    kept = tl.minimum(key, tokens - 1).to(tl.int64)
    k = tl.load(k_ptr + kept[:, None] * k_row + column[None, :])
    scores = tl.dot(q, tl.trans(k)) * scale
    if MASKED:
        scores = tl.where(visible(query[:, None], key[None, :], sliding_window, WINDOW), scores, _MASKED)
    peak = tl.maximum(highest, tl.max(scores, 1))
    shares = tl.exp2(scores - peak[:, None])
    if WINDOW:
        shares = tl.where(scores > _UNSEEN, shares, 0.0)  # a tile's first keys may be out of sight of all of a row
    fading = tl.exp2(highest - peak)
    v = tl.load(v_ptr + kept[:, None] * v_row + column[None, :])
    result = tl.dot(shares.to(v.dtype), v, result * fading[:, None])
    return peak, total * fading + tl.sum(shares, 1), result


@triton.jit
def _attend(
    q_ptr, k_ptr, v_ptr, out_ptr, log_ptr, offsets_ptr, shared_ptr, tokens, pieces, q_row, k_row, v_row, scale, sliding_window,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, PACK: tl.constexpr, PIECES: tl.constexpr,
    SHARES: tl.constexpr, WINDOW: tl.constexpr, POSITIONS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    begin, end, first, shared_begin, shared_end, _until = find_piece(
        offsets_ptr, shared_ptr, pieces, tl.program_id(1), PIECES, SHARES, POSITIONS
    )
    if first >= end:
        return
    key_head = tl.program_id(0) * PACK // GROUP
    head, query, place = packed_queries(tl.program_id(0) * PACK, first, tokens, PACK, POSITIONS)
    column = tl.arange(0, WIDTH)
    q = tl.load(q_ptr + place[:, None] * q_row + (head * WIDTH)[:, None] + column[None, :])
    k_ptr += key_head * WIDTH
    v_ptr += key_head * WIDTH
    highest = tl.full([PACK * POSITIONS], _MASKED, tl.float32)
    total = tl.zeros([PACK * POSITIONS], tl.float32)
    result = tl.zeros([PACK * POSITIONS, WIDTH], tl.float32)
    start, whole = key_range(begin, first, sliding_window, WINDOW, COLUMNS)
    for at in range(start, whole, COLUMNS):
        highest, total, result = _soften(
            q, k_ptr, v_ptr, query, highest, total, result, at, tokens, k_row, v_row, scale, sliding_window,
            WIDTH, COLUMNS, False, WINDOW,
        )  # fmt: skip
    masked = masked_from(whole, shared_begin, shared_end, SHARES, COLUMNS)
    for at in range(masked, tl.minimum(first + POSITIONS, end), COLUMNS):
        key, seeing = shared_tile(at, whole, shared_begin, shared_end, query, SHARES, COLUMNS)
        highest, total, result = _soften(
            q, k_ptr, v_ptr, seeing, highest, total, result, key, tokens, k_row, v_row, scale, sliding_window,
            WIDTH, COLUMNS, True, WINDOW,
        )  # fmt: skip
    inside = query < end
    total = tl.where(inside, total, 1.0)  # queries beyond the sample may have seen no key
    target = out_ptr + place[:, None] * (HEADS * WIDTH) + (head * WIDTH)[:, None] + column[None, :]
    tl.store(target, (result / total[:, None]).to(q.dtype), mask=inside[:, None])
    tl.store(log_ptr + head.to(tl.int64) * tokens + place, highest + tl.log2(total), mask=inside)


def is_fit(q: Tensor, k: Tensor) -> bool:
    """Say whether the kernels take these heads, each [tokens, heads, width]."""
    is_known = q.dtype != torch.float32 and q.shape[-1] in _WIDTHS and q.shape[1] % k.shape[1] == 0
    return is_known and has_fast_dots(q.device)


def attend(
    q: Tensor, k: Tensor, v: Tensor, pieces: tuple[Tensor, Tensor], window: tuple[float, int | None]
) -> tuple[Tensor, Tensor]:
    """Return the attention [tokens, heads, width] and the logarithms (base 2) of its sums, fp32 [heads, tokens].

    Args:
        q: [tokens, heads, width]; heads lie one after the other, tokens may lie apart.
        k: [tokens, key heads, width], as ``q``.
        v: as ``k``.
        pieces: ``offsets`` and ``shared`` of a ``PackedBatch``.
        window: scale of the scores, and how many tokens back a token sees, None for all of its sample; only that where
            prefixes are shared.
    """
    offsets, shared = pieces
    (scale, sliding_window), (tokens, heads, width) = window, q.shape
    out = torch.empty(tokens, heads, width, dtype=q.dtype, device=q.device)
    log = torch.empty(heads, tokens, dtype=torch.float32, device=q.device)
    pack = packed_heads(q, k)
    tile = tile_of(_TILE, q, pack)
    launch(_attend, (heads // pack, most_tiles(offsets, tokens, tile["POSITIONS"])))(
        q, k, v, out, log, offsets, shared, tokens, len(offsets) - 1, *(row_stride(t) for t in (q, k, v)), scale * LOG2, sliding_window or 0,
        **compiled_for(q, k, pack, pieces, sliding_window), **tile,
    )  # fmt: skip
    return out, log
