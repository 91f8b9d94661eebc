"""Attention within the samples of a packed batch, causal, by flash kernels or by stock attention over padded samples."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medtune.kernels.layout import PackedBatch

__all__ = ["Attended", "Window", "attend", "attend_backward"]

_FLASH_CAPABILITY = (8, 0)
_FLASH_WIDTH = 256


@dataclass(frozen=True, slots=True)
class Window:
    """Scale of the scores, and how many tokens back a token sees, itself included; None for all of its sample."""

    scale: float
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Attended:
    """Queries, keys, values and result of an attention, each [tokens, heads, width].

    Flash kernels leave ``log_sum`` for the way back; else autograd recorded the way from the three to ``out``.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    log_sum: Tensor | None


def attend(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, window: Window) -> Attended:
    """Attend within every sample; key heads are shared by consecutive query heads.

    Args:
        q: [tokens, heads, width].
        k: [tokens, key heads, width].
        v: as ``k``.
        batch: says where samples begin.
        window: scale and reach.
    """
    if not _has_flash(q):
        q, k, v = (t.detach().requires_grad_() for t in (q, k, v))
        with torch.enable_grad():
            return Attended(q, k, v, _padded_attention(q, k, v, batch, window), None)
    back = _tokens_back(batch, window)
    out, log_sum, *_rest = torch.ops.aten._flash_attention_forward(  # noqa: SLF001 - varlen_attn lacks shared heads in 2.11
        q, k, v, batch.offsets, batch.offsets, batch.longest, batch.longest, 0.0, back < 0, return_debug_mask=False,
        scale=window.scale, window_size_left=back, window_size_right=0,
    )  # fmt: skip
    return Attended(q, k, v, out, log_sum)


def attend_backward(
    gradient: Tensor, done: Attended, batch: PackedBatch, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values."""
    q, k, v = done.q, done.k, done.v
    if done.log_sum is None:
        dq, dk, dv = torch.autograd.grad(done.out, (q, k, v), gradient)
        return dq, dk, dv
    back = _tokens_back(batch, window)
    unused = torch.zeros(2, dtype=torch.uint64, device=q.device)  # state of a dropout that is not used
    dq, dk, dv = torch.ops.aten._flash_attention_backward(  # noqa: SLF001 - as above
        gradient, q, k, v, done.out, done.log_sum, batch.offsets, batch.offsets, batch.longest, batch.longest, 0.0,
        back < 0, unused, unused, scale=window.scale, window_size_left=back, window_size_right=0,
    )  # fmt: skip
    return dq, dk, dv


def _has_flash(q: Tensor) -> bool:
    if not q.is_cuda or q.dtype == torch.float32 or q.shape[-1] > _FLASH_WIDTH or q.shape[-1] % 8:
        return False
    return torch.cuda.get_device_capability(q.device) >= _FLASH_CAPABILITY


def _tokens_back(batch: PackedBatch, window: Window) -> int:
    """Return how many earlier tokens are seen, -1 for all."""
    return -1 if window.tokens is None or window.tokens >= batch.longest else window.tokens - 1


def _padded_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, window: Window) -> Tensor:
    """Attend over samples padded at their ends, which a causal mask hides from every token."""
    samples, longest = len(batch.offsets) - 1, batch.longest
    starts = batch.offsets.long()
    sample = torch.repeat_interleave(torch.arange(samples, device=q.device), starts.diff(), output_size=q.shape[0])
    place = sample * longest + torch.arange(q.shape[0], device=q.device) - starts[sample]
    padded: list[Tensor] = []
    for part in (q, k, v):
        blank = part.new_zeros(samples * longest, *part.shape[1:])
        padded.append(blank.index_copy(0, place, part).view(samples, longest, *part.shape[1:]).transpose(1, 2))
    back, mask = _tokens_back(batch, window), None
    if back >= 0:
        step = torch.arange(longest, device=q.device)
        distance = step[:, None] - step
        mask = (distance >= 0) & (distance <= back)
    out = functional.scaled_dot_product_attention(
        padded[0], padded[1], padded[2], attn_mask=mask, is_causal=mask is None, scale=window.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place)
