"""Triton kernels of the gradients of attention within the samples of a packed batch.

Both passes compute the scores again and add nothing across programs, so that gradients come out the same every time.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

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

__all__ = ["attend_backward"]

_QUERIES = {"ROWS": 128, "COLUMNS": 32, "num_warps": 4, "num_stages": 3}
_KEYS = {"ROWS": 32, "COLUMNS": 64, "num_warps": 4, "num_stages": 3}
"""Queries (positions times packed heads) and keys that a program works on at once: the fastest of a dozen on an H200."""


@triton.jit
def _store_turned(
    out_ptr, gradient, place, head, inside, cos_ptr, sin_ptr, out_row,
    TURN: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Store a tile of the joint gradient, turned back by the angles of its positions."""
    if TURN:
        half: tl.constexpr = WIDTH // 2
        column = tl.arange(0, half)
        a, b = tl.split(tl.permute(tl.reshape(gradient, (ROWS, 2, half)), (0, 2, 1)))
        cos = tl.load(cos_ptr + place[:, None] * half + column[None, :])
        sin = tl.load(sin_ptr + place[:, None] * half + column[None, :])
        target = out_ptr + place[:, None] * out_row + (head * WIDTH)[:, None] + column[None, :]
        tl.store(target, (a * cos + b * sin).to(out_ptr.dtype.element_ty), mask=inside[:, None])
        tl.store(target + half, (b * cos - a * sin).to(out_ptr.dtype.element_ty), mask=inside[:, None])
    else:
        target = out_ptr + place[:, None] * out_row + (head * WIDTH)[:, None] + tl.arange(0, WIDTH)[None, :]
        tl.store(target, gradient.to(out_ptr.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _query_step(
    dq, q, gradient, k_ptr, v_ptr, query, log, delta, start, tokens, k_row, v_row, scale, sliding_window,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, MASKED: tl.constexpr, WINDOW: tl.constexpr,
):  # fmt: skip
    """Add what the keys from ``start`` contribute to the gradient of a query tile."""
    column = tl.arange(0, WIDTH)
    key = start + tl.arange(0, COLUMNS)
    kept = tl.minimum(key, tokens - 1).to(tl.int64)
    k = tl.load(k_ptr + kept[:, None] * k_row + column[None, :])
    v = tl.load(v_ptr + kept[:, None] * v_row + column[None, :])
    shares = tl.exp2(tl.dot(q, tl.trans(k)) * scale - log[:, None])
    if MASKED:
        shares = tl.where(visible(query[:, None], key[None, :], sliding_window, WINDOW), shares, 0.0)
    ds = shares * (tl.dot(gradient, tl.trans(v)) - delta[:, None])
    return tl.dot(ds.to(k.dtype), k, dq)


# One function: a query's gradient stays in registers over all its keys.
@triton.jit
def _query_gradients(
    q_ptr, k_ptr, v_ptr, out_ptr, gradient_ptr, log_ptr, delta_ptr, joint_ptr, cos_ptr, sin_ptr, offsets_ptr,
    shared_ptr, tokens, pieces, q_row, k_row, v_row, joint_row, scale, factor, sliding_window, TURN: tl.constexpr,
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
    inside = query < end
    dense = place[:, None] * (HEADS * WIDTH) + (head * WIDTH)[:, None] + column[None, :]
    gradient = tl.load(gradient_ptr + dense)
    delta = tl.sum(gradient.to(tl.float32) * tl.load(out_ptr + dense).to(tl.float32), 1)
    by_head = head.to(tl.int64) * tokens + place
    tl.store(delta_ptr + by_head, delta, mask=inside)
    log = tl.load(log_ptr + by_head, mask=inside, other=float("inf"))  # no share for the next sample's queries
    q = tl.load(q_ptr + place[:, None] * q_row + (head * WIDTH)[:, None] + column[None, :])
    k_ptr += key_head * WIDTH
    v_ptr += key_head * WIDTH
    dq = tl.zeros([PACK * POSITIONS, WIDTH], tl.float32)
    start, whole = key_range(begin, first, sliding_window, WINDOW, COLUMNS)
    for at in range(start, whole, COLUMNS):
        dq = _query_step(
            dq, q, gradient, k_ptr, v_ptr, query, log, delta, at, tokens, k_row, v_row, scale, sliding_window,
            WIDTH, COLUMNS, False, WINDOW,
        )  # fmt: skip
    masked = masked_from(whole, shared_begin, shared_end, SHARES, COLUMNS)
    for at in range(masked, tl.minimum(first + POSITIONS, end), COLUMNS):
        key, seeing = shared_tile(at, whole, shared_begin, shared_end, query, SHARES, COLUMNS)
        dq = _query_step(
            dq, q, gradient, k_ptr, v_ptr, seeing, log, delta, key, tokens, k_row, v_row, scale, sliding_window,
            WIDTH, COLUMNS, True, WINDOW,
        )  # fmt: skip
    _store_turned(
        joint_ptr, dq * factor, place, head, inside, cos_ptr, sin_ptr, joint_row, TURN, PACK * POSITIONS, WIDTH
    )


@triton.jit
def _key_step(
    dk, dv, k, v, q_ptr, gradient_ptr, log_ptr, delta_ptr, key, head, start, end, tokens, q_row, scale, sliding_window,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, PACK: tl.constexpr, POSITIONS: tl.constexpr, MASKED: tl.constexpr,
    WINDOW: tl.constexpr,
):  # fmt: skip
    """Add what the queries from ``start`` contribute to the gradients of a key tile."""
    column = tl.arange(0, WIDTH)
    heads, query, place = packed_queries(head, start, tokens, PACK, POSITIONS)
    q = tl.load(q_ptr + place[:, None] * q_row + (heads * WIDTH)[:, None] + column[None, :])
    by_head = heads.to(tl.int64) * tokens + place
    log = tl.load(log_ptr + by_head, mask=query < end, other=float("inf"))
    shares = tl.exp2(tl.dot(k, tl.trans(q)) * scale - log[None, :])
    if MASKED:
        shares = tl.where(visible(query[None, :], key[:, None], sliding_window, WINDOW), shares, 0.0)
    gradient = tl.load(gradient_ptr + place[:, None] * (HEADS * WIDTH) + (heads * WIDTH)[:, None] + column[None, :])
    dv = tl.dot(shares.to(q.dtype), gradient, dv)
    delta = tl.load(delta_ptr + by_head)
    ds = shares * (tl.dot(v, tl.trans(gradient)) - delta[None, :])
    return tl.dot(ds.to(q.dtype), q, dk), dv


# One function: gradients of a key and its value stay in registers over all queries that see them.
@triton.jit
def _key_gradients(
    q_ptr, k_ptr, v_ptr, gradient_ptr, log_ptr, delta_ptr, joint_ptr, cos_ptr, sin_ptr, offsets_ptr,
    shared_ptr, tokens, pieces, q_row, k_row, v_row, joint_row, scale, factor, sliding_window, TURN: tl.constexpr,
    WIDTH: tl.constexpr, HEADS: tl.constexpr, GROUP: tl.constexpr, PACK: tl.constexpr, PIECES: tl.constexpr,
    SHARES: tl.constexpr, WINDOW: tl.constexpr, POSITIONS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    _begin, end, first, _shared_begin, _shared_end, until = find_piece(
        offsets_ptr, shared_ptr, pieces, tl.program_id(1), PIECES, SHARES, COLUMNS
    )
    if first >= end:
        return
    key_head = tl.program_id(0)
    key = first + tl.arange(0, COLUMNS)
    column = tl.arange(0, WIDTH)
    place = tl.minimum(key, tokens - 1).to(tl.int64)
    k = tl.load(k_ptr + place[:, None] * k_row + key_head * WIDTH + column[None, :])
    v = tl.load(v_ptr + place[:, None] * v_row + key_head * WIDTH + column[None, :])
    dk = tl.zeros([COLUMNS, WIDTH], tl.float32)
    dv = tl.zeros([COLUMNS, WIDTH], tl.float32)
    last = until
    crossing = tl.minimum(first + (COLUMNS + POSITIONS - 2) // POSITIONS * POSITIONS, until)
    if WINDOW:
        last = tl.minimum(until, first + COLUMNS + sliding_window)
        crossing = last
    for pack in range(GROUP // PACK):
        head = key_head * GROUP + pack * PACK
        for at in range(first, crossing, POSITIONS):
            dk, dv = _key_step(
                dk, dv, k, v, q_ptr, gradient_ptr, log_ptr, delta_ptr, key, head, at, until, tokens, q_row, scale, sliding_window,
                WIDTH, HEADS, PACK, POSITIONS, True, WINDOW,
            )  # fmt: skip
        for at in range(crossing, last, POSITIONS):
            dk, dv = _key_step(
                dk, dv, k, v, q_ptr, gradient_ptr, log_ptr, delta_ptr, key, head, at, until, tokens, q_row, scale, sliding_window,
                WIDTH, HEADS, PACK, POSITIONS, False, WINDOW,
            )  # fmt: skip
    inside = key < end
    side = tl.zeros([COLUMNS], tl.int32) + HEADS + key_head
    _store_turned(joint_ptr, dk * factor, place, side, inside, cos_ptr, sin_ptr, joint_row, TURN, COLUMNS, WIDTH)
    side += HEADS // GROUP
    _store_turned(joint_ptr, dv, place, side, inside, cos_ptr, sin_ptr, joint_row, False, COLUMNS, WIDTH)


def attend_backward(
    gradient: Tensor,
    done: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    pieces: tuple[Tensor, Tensor],
    window: tuple[float, int | None],
    angles: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return the gradients of queries, keys and values side by side, [tokens, (heads + 2 * key heads) * width].

    Args:
        gradient: of the attention, [tokens, heads, width].
        done: queries, keys, values, attention and logarithms of its sums, from ``attend``.
        pieces: as there.
        window: as there.
        angles: cosines and sines, fp32 [tokens, width / 2], that queries and keys were turned by, to turn their gradients
            back; None leaves them.
    """
    q, k, v, out, log = done
    tokens, heads, width = q.shape
    (scale, sliding_window), delta, (offsets, shared) = window, torch.empty_like(log), pieces
    joint = torch.empty(tokens, (heads + 2 * k.shape[1]) * width, dtype=q.dtype, device=q.device)
    pack, gradient = packed_heads(q, k), gradient.contiguous()
    shape = compiled_for(q, k, pack, pieces, sliding_window) | {"TURN": angles is not None}
    rest = (
        log, delta, joint, *(angles or (log, log)), offsets, shared, tokens, len(offsets) - 1, *(row_stride(t) for t in (q, k, v)),
        joint.shape[1], scale * LOG2, scale, sliding_window or 0,
    )  # fmt: skip
    # the first pass leaves what the second needs of gradient times attention
    tile = tile_of(_QUERIES, q, pack)
    launch(_query_gradients, (heads // pack, most_tiles(offsets, tokens, tile["POSITIONS"])))(
        q, k, v, out, gradient, *rest, **shape, **tile
    )
    tile = tile_of(_KEYS, q, pack)
    launch(_key_gradients, (k.shape[1], most_tiles(offsets, tokens, tile["COLUMNS"])))(
        q, k, v, gradient, *rest, **shape, **tile
    )
    return joint
