"""How Triton kernels of attention divide a packed batch: tiles that lie within one piece of it."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN201, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import math

import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.triton.device import shared_memory

__all__ = [
    "LOG2",
    "compiled_for",
    "find_piece",
    "key_range",
    "masked_from",
    "most_tiles",
    "packed_heads",
    "packed_queries",
    "row_stride",
    "shared_tile",
    "tile_of",
    "visible",
]

LOG2 = 1 / math.log(2)
_MOST_PACKED = 4
_SMALL = {"ROWS": 64, "COLUMNS": 32, "num_warps": 4, "num_stages": 2}
"""The tile where a GPU has less than ``_SHARED`` bytes of shared memory for a program."""
_SHARED = 160 * 1024
_LAST = tl.constexpr(2**31 - 1)
_FEWEST_PIECES = 128
"""Pieces that kernels are compiled for at least: as many as a program has threads, and most batches have fewer."""


@triton.jit
def find_piece(offsets_ptr, shared_ptr, pieces, tile, PIECES: tl.constexpr, SHARES: tl.constexpr, SIZE: tl.constexpr):
    """Return where the piece that a tile lies in begins and ends, the tile's first token, and what goes with the piece.

    That is begin and end of the tokens that come before it in its sample, and the end of the tokens that see it. All but the
    first token are 0 where the tile lies in none.
    """
    place = tl.arange(0, PIECES)
    begins = tl.load(offsets_ptr + place, mask=place < pieces, other=0)
    ends = tl.load(offsets_ptr + place + 1, mask=place < pieces, other=0)
    tiles = (ends - begins + SIZE - 1) // SIZE
    reached = tl.cumsum(tiles, 0)
    is_mine = (tile < reached) & (tile >= reached - tiles)
    begin = tl.sum(tl.where(is_mine, begins, 0), 0)
    first = begin + tl.sum(tl.where(is_mine, tile - (reached - tiles), 0), 0) * SIZE
    end = tl.sum(tl.where(is_mine, ends, 0), 0)
    shared_begin, shared_end, seen_until = begin, begin, end
    if SHARES:
        shared_begin = tl.sum(tl.load(shared_ptr + place, mask=is_mine, other=0), 0)
        shared_end = tl.sum(tl.load(shared_ptr + pieces + place, mask=is_mine, other=0), 0)
        seen_until = tl.sum(tl.load(shared_ptr + 2 * pieces + place, mask=is_mine, other=0), 0)
    return begin, end, first, shared_begin, shared_end, seen_until


@triton.jit
def packed_queries(head, start, tokens, PACK: tl.constexpr, POSITIONS: tl.constexpr):
    """Return the head, position and place in memory of each query of a tile of heads from ``head`` on."""
    member = tl.arange(0, PACK * POSITIONS)
    query = start + member % POSITIONS
    return head + member // POSITIONS, query, tl.minimum(query, tokens - 1).to(tl.int64)


@triton.jit
def visible(query, key, sliding_window, WINDOW: tl.constexpr):
    """Say which keys a query sees, itself and ``sliding_window`` tokens back."""
    seen = query >= key
    if WINDOW:
        seen = seen & (query - key <= sliding_window)
    return seen


@triton.jit
def key_range(begin, first, sliding_window, WINDOW: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where the keys of a query tile begin, and up to where all of its queries see all of them."""
    if WINDOW:
        start = begin + tl.maximum(first - sliding_window - begin, 0) // COLUMNS * COLUMNS
        whole = start
    else:
        start = begin
        whole = begin + (first - begin + 1) // COLUMNS * COLUMNS
    return start, whole


@triton.jit
def masked_from(whole, shared_begin, shared_end, SHARES: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where the loop over keys begins that masks them: before ``whole``, for as many tiles as come before the piece."""
    if SHARES:
        whole -= (shared_end - shared_begin + COLUMNS - 1) // COLUMNS * COLUMNS
    return whole


@triton.jit
def shared_tile(at, whole, shared_begin, shared_end, query, SHARES: tl.constexpr, COLUMNS: tl.constexpr):
    """Return where a tile of keys begins, and each query as far as it sees them.

    Tiles of keys that come before the piece in its sample are numbered as if they ended at ``whole``, where the keys begin
    that not all queries see; so one loop, which masks keys, goes over both.
    """
    if SHARES:
        shift = shared_begin - masked_from(whole, shared_begin, shared_end, SHARES, COLUMNS)
        query = tl.minimum(query, tl.where(at < whole, shared_end - 1, _LAST))
        at += tl.where(at < whole, shift, 0)
    return at, query


def packed_heads(q: Tensor, k: Tensor) -> int:
    """Return how many query heads, all of one key head, make a tile."""
    return math.gcd(q.shape[1] // k.shape[1], _MOST_PACKED)


def tile_of(wanted: dict[str, int], q: Tensor, pack: int) -> dict[str, int]:
    """Return the tile as kernels take it."""
    memory = shared_memory(q.device)
    is_small = memory is not None and memory < _SHARED
    tile = dict(_SMALL if is_small else wanted)
    return {"POSITIONS": tile.pop("ROWS") // pack, **tile}


def most_tiles(offsets: Tensor, tokens: int, size: int) -> int:
    """Return how many tiles of ``size`` tokens the pieces take at most; none crosses from one to the next."""
    return tokens // size + len(offsets) - 1


def row_stride(heads: Tensor) -> int:
    """Return how far tokens lie apart; their heads must lie one after the other."""
    tokens, heads_apart, apart = heads.stride()
    if apart != 1 or heads_apart != heads.shape[2]:
        raise ValueError("the values of a token's heads must lie one after the other")
    return tokens


def compiled_for(
    q: Tensor, k: Tensor, pack: int, pieces: tuple[Tensor, Tensor], sliding_window: int | None
) -> dict[str, int | bool]:
    """Return what the kernels are compiled for."""
    offsets, shared = pieces
    return {
        "WIDTH": q.shape[2],
        "HEADS": q.shape[1],
        "GROUP": q.shape[1] // k.shape[1],
        "PACK": pack,
        "PIECES": max(_FEWEST_PIECES, triton.next_power_of_2(len(offsets) - 1)),
        "SHARES": shared.shape[1] > 0,
        "WINDOW": sliding_window is not None,
    }
