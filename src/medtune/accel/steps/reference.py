"""The fused steps in plain PyTorch: what a CPU runs, and what the Triton kernels must equal."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from medtune.accel.model.heads import HeadNorms, Heads
from medtune.accel.steps.dropout import Dropout, keep_mask

__all__ = [
    "add_projected",
    "block_gradients",
    "cross_entropy",
    "dequantize",
    "norm",
    "norm_backward",
    "project",
    "quantize_rows",
    "rotate",
    "rotate_backward",
    "weight_gradient",
]

_E4M3_MAX = 448.0
_Pair = tuple[Tensor, Tensor]


def norm(
    x: Tensor, pending: Tensor | None, adapter: _Pair | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Add ``pending`` and its adapter's part to the residual stream and normalise it by its root mean square.

    Args:
        x: [rows, width] residual stream.
        pending: [rows, width] output of frozen weights, None when there is none; may be overwritten.
        adapter: low-rank values [rows, r] and second factor [r, width] of the same layer, None for none.
        weight: [width].
        eps: added to the mean square.

    Returns:
        The sum, its normalised form, both [rows, width], and the reciprocal root mean square, fp32 [rows].
    """
    if pending is not None and adapter is not None:
        pending = pending.addmm_(*adapter)
    total = x if pending is None else x + pending
    wide = total.float()
    scale = torch.rsqrt(wide.square().mean(-1) + eps)
    return total, _normed(total, scale, weight), scale


def norm_backward(
    gradient: Tensor,
    through: tuple[Tensor, Tensor, Dropout | None] | None,
    x: Tensor,
    normed: _Pair,
    residual: Tensor | None,
) -> Tensor:
    """Return the gradient of the residual stream before ``norm``: through the norm, plus ``residual``.

    Args:
        gradient: [rows, width], of the normalised stream by way of frozen weights; may be overwritten.
        through: gradient [rows, members * r] of the low-rank values of adapters that read the normalised stream, their
            first factor [members * r, width] and masks; None for none.
        x: [rows, width] residual stream.
        normed: reciprocal root mean square [rows] and weight [width].
        residual: [rows, width], None for none; the result is written over it.
    """
    if through is not None:
        add_projected(gradient, *through)
    scale, weight = normed
    direction = x.float() * scale[:, None]
    inner = gradient.float() * weight.float()
    result = scale[:, None] * (inner - direction * (inner * direction).mean(-1, keepdim=True))
    return result.to(x.dtype) if residual is None else residual.copy_(result + residual.float())


def project(x: Tensor, down: Tensor, alpha: float, dropout: Dropout | None) -> Tensor:
    """Return ``alpha * dropped(x) @ down.T``, [rows, members * r], each member with its own mask.

    Args:
        x: [rows, width].
        down: [members * r, width].
        alpha: factor.
        dropout: the masks, one per member; None for no dropout.
    """
    if dropout is None:
        return torch.mm(x, down.t()) * alpha
    parts = [_dropped(x, dropout, m) @ block.t() for m, block in enumerate(down.chunk(dropout.members))]
    return torch.cat(parts, 1) * alpha


def add_projected(y: Tensor, low: Tensor, down: Tensor, dropout: Dropout | None) -> None:
    """Add the gradient that flows back through the adapters' first factor to ``y``, in place.

    Args:
        y: [rows, width].
        low: [rows, members * r].
        down: [members * r, width].
        dropout: the masks of the forward pass, one per member; None for no dropout.
    """
    if dropout is None:
        y.addmm_(low, down)
        return
    members = dropout.members
    for m, (part, block) in enumerate(zip(low.chunk(members, 1), down.chunk(members), strict=True)):
        y += (part @ block) * keep_mask(dropout, m, (y.shape[0], y.shape[1]), y.device) * dropout.factor


def weight_gradient(x: Tensor, low: Tensor, dropout: Dropout | None, normed: _Pair | None, into: Tensor) -> None:
    """Add ``low.T @ dropped(x)`` to ``into``, in place.

    Args:
        x: [rows, width].
        low: [rows, members * r].
        dropout: the masks of the forward pass, one per member; None for no dropout.
        normed: scale [rows] and weight [width] by which ``x`` is normalised first, None for not at all.
        into: fp32 [members * r, width].
    """
    if normed is not None:
        x = _normed(x, *normed)
    members = 1 if dropout is None else dropout.members
    for m, (part, target) in enumerate(zip(low.chunk(members, 1), into.chunk(members), strict=True)):
        target.add_(_over_tokens(part.t(), x if dropout is None else _dropped(x, dropout, m)))


def block_gradients(x: Tensor, up: Tensor, low: Tensor, bounds: tuple[int, ...], alpha: float, into: Tensor) -> Tensor:
    """Return ``alpha * x[:, block] @ up[:, block].T`` for every block of columns, [rows, blocks * r].

    On the way ``x[:, block].T @ low[:, member]`` is added to ``into``, in place, so that ``x`` is read once.

    Args:
        x: [rows, width].
        up: [r, width].
        low: [rows, blocks * r].
        bounds: where the blocks begin, and ``width``.
        alpha: factor.
        into: fp32 [width, r].
    """
    for (begin, end), part in zip(pairwise(bounds), low.chunk(len(bounds) - 1, 1), strict=True):
        into[begin:end] += _over_tokens(x[:, begin:end].t(), part)
    return torch.cat([x[:, a:b] @ up[:, a:b].t() for a, b in pairwise(bounds)], 1) * alpha


def rotate(qkv: Tensor, adapter: _Pair | None, angles: _Pair, heads: Heads, norms: HeadNorms | None) -> Tensor:
    """Add the adapters, normalise each query and key head where the model does, then rotate it by its position.

    Args:
        qkv: [rows, (queries + 2 * keys) * width]; the adapters are added in place, so is the rest without ``norms``.
        adapter: low-rank values [rows, 3 * r] and second factor [r, heads.total], None for none.
        angles: cosines and sines [rows, width / 2], fp32.
        heads: how ``qkv`` divides.
        norms: weights of the norms of query and key heads, None for none.

    Returns:
        As ``qkv``: itself, or a new tensor when there are ``norms``.
    """
    if adapter is not None:
        for low, begin, end in zip(adapter[0].chunk(3, 1), heads.bounds[:-1], heads.bounds[1:], strict=True):
            qkv[:, begin:end].addmm_(low, adapter[1][:, begin:end])
    result = qkv if norms is None else qkv.clone()
    parts = heads.split(result)
    for index in (0, 1):
        part = parts[index]
        if norms is not None:
            wide = part.float()
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + norms.eps)
            part.copy_((wide * scale).to(part.dtype) * norms.weights[index])
        part.copy_(_turned(part, *angles))
    return result


def rotate_backward(
    gradients: tuple[Tensor, Tensor, Tensor],
    angles: _Pair,
    heads: Heads,
    before: tuple[Tensor, HeadNorms] | None,
) -> Tensor:
    """Return the gradient of ``rotate``'s input, [rows, (queries + 2 * keys) * width].

    Args:
        gradients: of queries, keys and values, each [rows, heads, width].
        angles: as in ``rotate``.
        heads: as in ``rotate``.
        before: what ``rotate`` was given, adapters added, and its norms, None when there were none.
    """
    result = torch.empty(gradients[0].shape[0], heads.total, dtype=gradients[0].dtype, device=gradients[0].device)
    for index, (part, gradient) in enumerate(zip(heads.split(result), gradients, strict=True)):
        if index == 2:  # noqa: PLR2004 - values are not rotated
            part.copy_(gradient)
            continue
        turned = _turned(gradient, angles[0], -angles[1]).float()
        if before is not None:
            x = heads.split(before[0])[index].float()
            scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + before[1].eps)
            inner = turned * before[1].weights[index].float()
            turned = scale * (inner - x * scale * (inner * x * scale).mean(-1, keepdim=True))
        part.copy_(turned)
    return result


def cross_entropy(logits: Tensor, targets: Tensor, scale: Tensor | None = None) -> Tensor:
    """Return the loss of every row in nats, fp32 [rows], and turn ``logits`` into their gradient, in place.

    Args:
        logits: [rows, vocabulary]; rows may lie apart.
        targets: [rows] int64; a negative one carries neither loss nor gradient.
        scale: factor on the gradient, fp32 [1], before it is rounded to the type of ``logits``; None for none.
    """
    wide = logits.float()
    total = torch.logsumexp(wide, -1)
    counts = (targets >= 0).float()
    place = targets.clamp(min=0)[:, None]
    losses = (total - wide.gather(1, place).squeeze(1)) * counts
    gradient = torch.exp(wide - total[:, None])
    gradient.scatter_add_(1, place, torch.full_like(gradient[:, :1], -1.0))
    logits.copy_(gradient * (counts if scale is None else counts * scale)[:, None])
    return losses


def quantize_rows(x: Tensor, column_scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Round every row to e4m3 with a scale of its own.

    Args:
        x: [rows, width].
        column_scale: fp32 [width] by which the columns are multiplied first.

    Returns:
        float8_e4m3fn [rows, width] and fp32 scales [rows, 1] that undo it.
    """
    wide = x.float() if column_scale is None else x.float() * column_scale
    scale = wide.abs().amax(-1, keepdim=True).clamp(min=1e-12) / _E4M3_MAX
    return (wide / scale).clamp(-_E4M3_MAX, _E4M3_MAX).to(torch.float8_e4m3fn), scale


def dequantize(packed: Tensor, state: Any, out: Tensor) -> bool:  # noqa: ARG001 - the signature of its Triton form
    """Dequantize a 4-bit weight into ``out`` and say whether that was done; here it is left to bitsandbytes.

    Args:
        packed: uint8, two values a byte.
        state: bitsandbytes' ``QuantState`` of the weight.
        out: of the weight's shape.
    """
    return False


def _over_tokens(left: Tensor, right: Tensor) -> Tensor:
    """Return a product that is summed over tokens, in fp32 where fp16 might not hold it."""
    if left.dtype != torch.float16:
        return left @ right
    return torch.mm(left, right, out_dtype=torch.float32) if left.is_cuda else left.float() @ right.float()


def _normed(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    return (x.float() * scale[:, None]).to(x.dtype) * weight


def _dropped(x: Tensor, dropout: Dropout, member: int) -> Tensor:
    return x * keep_mask(dropout, member, (x.shape[0], x.shape[1]), x.device) * dropout.factor


def _turned(part: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs (i, i + width / 2) of [rows, heads, width] by the angles of their rows."""
    first, second = part.float().chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(part.dtype)
