"""Attention within the samples of a packed batch, causal, by one of four forms.

Triton kernels of our own, the flash kernels that come with PyTorch, its memory-efficient ones for the GPUs before Ampere, or
reference attention over padded samples.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from medtune.accel.model.heads import Heads, Window
from medtune.accel.train.attention_by_length import attend_by_length
from medtune.accel.train.layout import PackedBatch
from medtune.accel.triton.use import has_triton

__all__ = ["Attended", "attend", "attend_backward", "attend_backward_turned", "may_share"]

_FLASH_CAPABILITY = (8, 0)
_FLASH_WIDTH = 256


_CAUSAL = 1
"""Number of the mask that hides later tokens, counted from each sample's begin."""
Form = Literal["triton", "flash", "efficient", "padded"]


@dataclass(frozen=True, slots=True)
class Attended:
    """Queries, keys, values and result of an attention, each [tokens, heads, width].

    The kernels of ``form`` leave ``log_sum`` for the way back; of padded samples autograd keeps the way from the three
    to ``out``.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    log_sum: Tensor | None
    form: Form


def attend(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, window: Window) -> Attended:
    """Attend within every sample; key heads are shared by consecutive query heads.

    Args:
        q: [tokens, heads, width].
        k: [tokens, key heads, width].
        v: as ``k``.
        batch: says where samples begin.
        window: scale and sliding window.
    """
    form, back = _form_of(q, k), _tokens_back(batch, window)
    if batch.shares and (form != "triton" or back >= 0):
        form = "padded"
    if form == "padded":
        q, k, v = (t.detach().requires_grad_() for t in (q, k, v))
        with torch.enable_grad():
            return Attended(q, k, v, _padded_attention(q, k, v, batch, window), None, form)
    if form == "triton":
        from medtune.accel.triton import attention as triton_attention

        seen = window.scale, None if back < 0 else back
        return Attended(q, k, v, *triton_attention.attend(q, k, v, (batch.offsets, batch.shared), seen), form)
    if form == "efficient":
        return _efficient(q, k, v, batch, window)
    out, log_sum, *_rest = torch.ops.aten._flash_attention_forward(  # noqa: SLF001 - varlen_attn lacks shared heads in 2.11
        q, k, v, batch.offsets, batch.offsets, batch.longest, batch.longest, 0.0, back < 0, return_debug_mask=False,
        scale=window.scale, window_size_left=back, window_size_right=0,
    )  # fmt: skip
    return Attended(q, k, v, out, log_sum, form)


def attend_backward(
    gradient: Tensor, done: Attended, batch: PackedBatch, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values."""
    q, k, v = done.q, done.k, done.v
    if done.log_sum is None:
        dq, dk, dv = torch.autograd.grad(done.out, (q, k, v), gradient)
        return dq, dk, dv
    back = _tokens_back(batch, window)
    if done.form == "triton":
        heads = Heads(q.shape[1], k.shape[1], q.shape[2])
        return heads.split(_by_triton(gradient, done, batch, window, None))
    if done.form == "efficient":
        return _efficient_backward(gradient, done, done.log_sum, batch, window)
    unused = torch.zeros(2, dtype=torch.uint64, device=q.device)  # state of a dropout that is not used
    dq, dk, dv = torch.ops.aten._flash_attention_backward(  # noqa: SLF001 - as above
        gradient, q, k, v, done.out, done.log_sum, batch.offsets, batch.offsets, batch.longest, batch.longest, 0.0,
        back < 0, unused, unused, scale=window.scale, window_size_left=back, window_size_right=0,
    )  # fmt: skip
    return dq, dk, dv


def attend_backward_turned(
    gradient: Tensor, done: Attended, batch: PackedBatch, window: Window, angles: tuple[Tensor, Tensor]
) -> Tensor | None:
    """Return the gradients side by side, [tokens, (heads + 2 * key heads) * width], those of queries and keys turned back.

    Args:
        gradient: as in ``attend_backward``.
        done: as there.
        batch: as there.
        window: as there.
        angles: cosines and sines that queries and keys were turned by, fp32 [tokens, width / 2].

    Returns:
        None where the kernels of ``done`` cannot turn on the way.
    """
    return _by_triton(gradient, done, batch, window, angles) if done.form == "triton" else None


def _by_triton(
    gradient: Tensor, done: Attended, batch: PackedBatch, window: Window, angles: tuple[Tensor, Tensor] | None
) -> Tensor:
    from medtune.accel.triton import attention_backward as triton_attention_backward

    if done.log_sum is None:
        raise ValueError("the attention was not computed by these kernels")
    back = _tokens_back(batch, window)
    kept = done.q, done.k, done.v, done.out, done.log_sum
    seen = window.scale, None if back < 0 else back
    return triton_attention_backward.attend_backward(gradient, kept, (batch.offsets, batch.shared), seen, angles)


def may_share(heads: Heads, like: Tensor) -> bool:
    """Say whether attention of such heads, where ``like`` lies and of its type, gains by prefixes that samples share."""
    queries, keys, _values = heads.split(like.new_empty(1, heads.total))
    return _form_of(queries, keys) in ("triton", "padded")


def _form_of(q: Tensor, k: Tensor) -> Form:
    if not q.is_cuda or q.dtype == torch.float32:
        return "padded"
    if has_triton():
        from medtune.accel.triton import attention as triton_attention

        if triton_attention.is_fit(q, k):
            return "triton"
    if q.shape[-1] > _FLASH_WIDTH or q.shape[-1] % 8:
        return "padded"
    return "flash" if torch.cuda.get_device_capability(q.device) >= _FLASH_CAPABILITY else "efficient"


def _repeated(heads: Tensor, queries: int) -> Tensor:
    """Return keys or values [1, tokens, queries, width], each head as often as query heads share it."""
    return heads.repeat_interleave(queries // heads.shape[1], 1)[None]


def _efficient(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, window: Window) -> Attended:
    offsets, longest, back = batch.offsets, batch.longest, _tokens_back(batch, window)
    out, log_sum, *_rest = torch.ops.aten._efficient_attention_forward(  # noqa: SLF001 - has no public name
        q[None], _repeated(k, q.shape[1]), _repeated(v, q.shape[1]), None, offsets, offsets, longest, longest, 0.0, _CAUSAL,
        True, scale=window.scale, window_size=None if back < 0 else back + 1,
    )  # fmt: skip
    return Attended(q, k, v, out[0], log_sum, "efficient")


def _efficient_backward(
    gradient: Tensor, done: Attended, log_sum: Tensor, batch: PackedBatch, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = done.q, done.k, done.v
    offsets, longest, back = batch.offsets, batch.longest, _tokens_back(batch, window)
    unused = torch.zeros((), dtype=torch.int64, device=q.device)  # state of a dropout that is not used
    dq, dk, dv, _none = torch.ops.aten._efficient_attention_backward(  # noqa: SLF001 - as above
        gradient[None].contiguous(), q[None], _repeated(k, q.shape[1]), _repeated(v, q.shape[1]), None, done.out[None],
        offsets, offsets, longest, longest, log_sum, 0.0, unused, unused, _CAUSAL, False, scale=window.scale,
        num_splits_key=1, window_size=None if back < 0 else back + 1,
    )  # fmt: skip
    shared = k.shape[0], k.shape[1], -1, k.shape[2]
    dk, dv = (part[0].view(shared).float().sum(2).to(k.dtype) for part in (dk, dv))
    return dq[0], dk, dv


def _tokens_back(batch: PackedBatch, window: Window) -> int:
    """Return how many earlier tokens are seen, -1 for all."""
    return -1 if window.tokens is None or window.tokens >= batch.longest else window.tokens - 1


def _padded_attention(q: Tensor, k: Tensor, v: Tensor, batch: PackedBatch, window: Window) -> Tensor:
    """Attend over samples padded at their ends, which a causal mask hides from every token.

    Of a piece that goes on from a shared prefix the keys and values of both are there, and its own queries. On a GPU all are
    attended in one product, since where they begin is not read off the device.
    """
    if not q.is_cuda:
        return attend_by_length((q, k, v), batch, window, _tokens_back(batch, window))
    samples, longest = len(batch.offsets) - 1, batch.longest
    starts, device = batch.offsets.long(), q.device
    sample = torch.repeat_interleave(torch.arange(samples, device=device), starts.diff(), output_size=q.shape[0])
    before = (batch.shared[1] - batch.shared[0]).long() if batch.shares else torch.zeros_like(starts[:-1])
    step = torch.arange(longest, device=device)
    place = sample * longest + (before - starts[:-1])[sample] + torch.arange(q.shape[0], device=device)
    found = [q.new_zeros(samples * longest, *q.shape[1:]).index_copy(0, place, q)]
    if batch.shares:
        seen = torch.where(
            step < before[:, None], batch.shared[0][:, None] + step, (starts[:-1] - before)[:, None] + step
        )
        seen = seen.clamp(max=q.shape[0] - 1).flatten()
        found += [part.index_select(0, seen) for part in (k, v)]
    else:
        found += [part.new_zeros(samples * longest, *part.shape[1:]).index_copy(0, place, part) for part in (k, v)]
    padded = [part.view(samples, longest, *part.shape[1:]).transpose(1, 2) for part in found]
    back, mask = _tokens_back(batch, window), None
    if back >= 0:
        distance = step[:, None] - step
        mask = (distance >= 0) & (distance <= back)
    out = functional.scaled_dot_product_attention(
        padded[0], padded[1], padded[2], attn_mask=mask, is_causal=mask is None, scale=window.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    return out.transpose(1, 2).flatten(0, 1).index_select(0, place)
