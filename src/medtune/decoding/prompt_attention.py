"""Causal attention within prompts that stand one after the other, by flash kernels or over padded prompts."""

import inspect
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from medtune.decoding.shape import Window

__all__ = ["Prompts", "attend"]

_FLASH_CAPABILITY = (8, 0)
_FLASH_WIDTH = 256


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts without padding.

    Attributes:
        offsets: [prompts + 1] int32, where each begins; the last one is the number of tokens.
        places: [tokens] int64, position of each token in its prompt.
        numbers: [tokens] int64, number of each token's prompt.
        longest: tokens of the longest prompt.
    """

    offsets: Tensor
    places: Tensor
    numbers: Tensor
    longest: int


def attend(q: Tensor, k: Tensor, v: Tensor, prompts: Prompts, window: Window) -> Tensor:
    """Attend within every prompt.

    Args:
        q: [tokens, heads, width].
        k: [tokens, key heads, width]; a key head is shared by consecutive query heads.
        v: as ``k``.
        prompts: say where each begins.
        window: scale and reach.

    Returns:
        [tokens, heads, width].
    """
    back = -1 if window.tokens is None or window.tokens >= prompts.longest else window.tokens - 1
    if not _has_flash(q):
        return _attend_padded((q, k, v), prompts, back, window.scale)
    from torch.nn.attention.varlen import varlen_attn

    shared = {"enable_gqa": True} if _takes_shared_heads() else {}
    if not shared:
        k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    out = varlen_attn(
        q, k, v, prompts.offsets, prompts.offsets, prompts.longest, prompts.longest,
        scale=window.scale, window_size=(back, 0), **shared,
    )  # fmt: skip
    assert isinstance(out, Tensor)  # noqa: S101 - a tuple comes only when more is asked for
    return out


def _has_flash(q: Tensor) -> bool:
    if not q.is_cuda or q.dtype == torch.float32 or q.shape[-1] > _FLASH_WIDTH or q.shape[-1] % 8:
        return False
    return torch.cuda.get_device_capability(q.device) >= _FLASH_CAPABILITY


@cache
def _takes_shared_heads() -> bool:
    """Say whether torch's packed attention shares key heads itself; 2.11 does not."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def _attend_padded(parts: tuple[Tensor, Tensor, Tensor], prompts: Prompts, back: int, scale: float) -> Tensor:
    """Attend over prompts padded at their ends, which a causal mask hides from every token."""
    count, longest, device = len(prompts.offsets) - 1, prompts.longest, prompts.places.device
    place = prompts.numbers * longest + prompts.places
    padded: list[Tensor] = []
    for part in parts:
        blank = part.new_zeros(count * longest, *part.shape[1:])
        padded.append(blank.index_copy(0, place, part).unflatten(0, (count, longest)).transpose(1, 2))
    mask = None
    if back >= 0:
        step = torch.arange(longest, device=device)
        distance = step[:, None] - step
        mask = (distance >= 0) & (distance <= back)
    out = functional.scaled_dot_product_attention(
        padded[0], padded[1], padded[2], attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place)
