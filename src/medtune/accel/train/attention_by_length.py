"""Reference attention over padded samples on a CPU, those of about one length at a time.

A pair of tokens that is padding takes as long there as one that counts, and the pairs grow with the square of the longest sample.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from medtune.accel.model.heads import Window
from medtune.accel.train.layout import PackedBatch

__all__ = ["Piece", "attend_by_length", "grouped"]

_ALIKE = 1.25
"""Samples up to this many times as long as the shortest of a group belong to it: of its pairs two fifths are padding at most."""
_SLACK = 16
"""Tokens by which they may be longer in any case: for short samples a product more takes longer than the padding."""


class Piece(NamedTuple):
    """Tokens ``begin`` to ``end`` of a batch, which go on from the tokens ``first`` to ``last`` that other samples share."""

    first: int
    last: int
    begin: int
    end: int

    @property
    def length(self) -> int:
        """Tokens that its last token sees."""
        return self.last - self.first + self.end - self.begin


def grouped(batch: PackedBatch) -> list[list[Piece]]:
    """Return the pieces of a batch that is not on a GPU, the short ones first, those of about one length together."""
    offsets = batch.offsets.tolist()
    shared = batch.shared[:2].tolist() if batch.shares else [[0] * len(offsets)] * 2
    pieces = [Piece(*bounds) for bounds in zip(*shared, offsets, offsets[1:], strict=False) if bounds[3] > bounds[2]]
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.length, piece.begin)):
        if groups and piece.length <= max(_ALIKE * groups[-1][0].length, groups[-1][0].length + _SLACK):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def attend_by_length(states: tuple[Tensor, Tensor, Tensor], batch: PackedBatch, window: Window, back: int) -> Tensor:
    """Attend within every sample.

    Args:
        states: queries [tokens, heads, width], keys and values [tokens, key heads, width].
        batch: says where samples begin.
        window: scale of the products.
        back: earlier tokens that a token sees, -1 for all.

    Returns:
        [tokens, heads, width].
    """
    found = [_attend(states, group, window, back) for group in grouped(batch)]
    order = np.concatenate([tokens for _out, tokens in found])
    place = np.empty(len(states[0]), dtype=np.int64)
    place[order] = np.arange(len(order))
    return torch.cat([out for out, _tokens in found]).index_select(0, torch.from_numpy(place))


def _attend(
    states: tuple[Tensor, Tensor, Tensor], group: list[Piece], window: Window, back: int
) -> tuple[Tensor, "np.ndarray[tuple[int], np.dtype[np.int64]]"]:
    """Return the results of a group's own tokens, and which tokens these are."""
    longest = group[-1].length
    seen = np.zeros((len(group), longest), dtype=np.int64)  # what pads them is some token, hidden by the causal mask
    is_own = np.zeros((len(group), longest), dtype=np.bool_)
    for row, piece in enumerate(group):
        before = piece.last - piece.first
        seen[row, :before] = np.arange(piece.first, piece.last)
        seen[row, before : piece.length] = np.arange(piece.begin, piece.end)
        is_own[row, before : piece.length] = True
    places, own = torch.from_numpy(seen.ravel()), torch.from_numpy(is_own.ravel().nonzero()[0])
    q, k, v = (
        part.index_select(0, places).view(len(group), longest, *part.shape[1:]).transpose(1, 2) for part in states
    )
    mask = None
    if back >= 0:
        step = torch.arange(longest)
        distance = step[:, None] - step
        mask = (distance >= 0) & (distance <= back)
    out = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=window.scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, own), seen[is_own]
