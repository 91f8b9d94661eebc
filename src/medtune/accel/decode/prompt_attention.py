"""Causal attention within prompts that stand one after the other."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from medtune.accel.model.heads import Window

__all__ = ["Prompts", "attend", "attend_to_kept", "mask_of"]

_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Those that are there when they are asked for: cuDNN builds its own for every new shape, and all prompts differ."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts, or what follows a part of them that was read before, without padding.

    Attributes:
        count: number of prompts.
        longest: tokens of the longest one, as far as they are here.
        places: [tokens] int64, position of each token in its prompt.
        numbers: [tokens] int64, number of each token's prompt.
        rows: [tokens] int64, how many tokens of its prompt stand before it here.
    """

    count: int
    longest: int
    places: Tensor
    numbers: Tensor
    rows: Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, prompts: Prompts, window: Window) -> Tensor:
    """Attend within every prompt; only here are they padded, at their ends, which no earlier token sees.

    Args:
        q: [tokens, heads, width].
        k: [tokens, key heads, width]; a key head is shared by consecutive query heads.
        v: as ``k``.
        prompts: say where each token belongs.
        window: scale and sliding window.

    Returns:
        [tokens, heads, width].
    """
    place = prompts.numbers * prompts.longest + prompts.rows
    mask = None
    if window.tokens is not None and window.tokens < prompts.longest:
        step = torch.arange(prompts.longest, device=q.device)
        distance = step[:, None] - step
        mask = (distance >= 0) & (distance < window.tokens)
        # The kernels that take a mask and keep no scores want a key head for every query head.
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    padded = [_padded(part, place, prompts) for part in (q, k, v)]
    with sdpa_kernel(_KERNELS):
        out = functional.scaled_dot_product_attention(
            padded[0], padded[1], padded[2], attn_mask=mask, is_causal=mask is None, scale=window.scale, enable_gqa=True
        )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place)


def mask_of(prompts: Prompts, begins: Tensor, sizes: tuple[int, int], tokens: int | None, like: Tensor) -> Tensor:
    """Return what ``attend_to_kept`` adds to scores, the same for all layers of a window.

    Args:
        prompts: say how many there are and how long the longest is.
        begins: [prompts] int64, position of the first token that is here.
        sizes: query heads that share a key head, and tokens that are looked at.
        tokens: how far back a token sees, itself included; None for all.
        like: of the scores' type.

    Returns:
        [prompts, 1, sharing heads * longest, tokens].
    """
    shared, total = sizes
    positions = begins[:, None] + torch.arange(prompts.longest, device=begins.device)
    distance = positions[:, :, None] - torch.arange(total, device=begins.device)
    unseen = distance < 0
    if tokens is not None:
        unseen |= distance >= tokens
    mask = like.new_zeros(unseen.shape).masked_fill_(unseen, float("-inf"))
    return mask[:, None].expand(-1, shared, -1, -1).flatten(1, 2)[:, None]


def attend_to_kept(q: Tensor, kept: tuple[Tensor, Tensor], prompts: Prompts, mask: Tensor, window: Window) -> Tensor:
    """Attend from the last part of every prompt to all of it.

    Args:
        q: [tokens, heads, width].
        kept: keys and values of whole prompts, each [prompts, key heads, n, width]; what lies beyond an end is not seen.
        prompts: say where each token belongs.
        mask: from ``mask_of``.
        window: scale and sliding window.

    Returns:
        [tokens, heads, width].
    """
    place = prompts.numbers * prompts.longest + prompts.rows
    # Query heads that share a key head count as queries of it: the kernels that take a mask know no shared heads, and
    # keys and values repeated for each would be far larger.
    count, keys = kept[0].shape[:2]
    shared = q.shape[1] // keys
    grouped = _padded(q, place, prompts).reshape(count, keys, shared * prompts.longest, q.shape[2])
    with sdpa_kernel(_KERNELS):
        out = functional.scaled_dot_product_attention(grouped, *kept, attn_mask=mask, scale=window.scale)
    out = out.reshape(count, q.shape[1], prompts.longest, q.shape[2])
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place)


def _padded(part: Tensor, place: Tensor, prompts: Prompts) -> Tensor:
    """Return [prompts, heads, longest, width] with zeros after each prompt's end."""
    blank = part.new_zeros(prompts.count * prompts.longest, part.shape[1], part.shape[2])
    return blank.index_copy_(0, place, part).view(prompts.count, prompts.longest, *part.shape[1:]).transpose(1, 2)
