"""Triton kernels that work on whole rows: norms, the loss over the vocabulary, rounding to fp8."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["cross_entropy", "norm", "norm_backward", "quantize_rows"]

_E4M3_MAX = 448.0
_WIDE_ROW = 4096


@triton.jit
def _norm(
    x_ptr, pending_ptr, weight_ptr, total_ptr, normed_ptr, scale_ptr, width, eps, ADD: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    place = row * width + column
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    if ADD:
        pending = tl.load(pending_ptr + place, mask=inside, other=0.0)
        x = (x.to(tl.float32) + pending.to(tl.float32)).to(x.dtype)
        tl.store(total_ptr + place, x, mask=inside)
    wide = x.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 0) / width + eps)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0)
    normed = (wide * scale).to(x.dtype).to(tl.float32) * weight.to(tl.float32)
    tl.store(normed_ptr + place, normed.to(x.dtype), mask=inside)
    tl.store(scale_ptr + row, scale)


@triton.jit
def _norm_backward(
    gradient_ptr, x_ptr, scale_ptr, weight_ptr, residual_ptr, out_ptr, width, ADD: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    place = row * width + column
    x = tl.load(x_ptr + place, mask=inside, other=0.0)
    scale = tl.load(scale_ptr + row)
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    inner = tl.load(gradient_ptr + place, mask=inside, other=0.0).to(tl.float32) * weight
    direction = x.to(tl.float32) * scale
    result = scale * (inner - direction * (tl.sum(inner * direction, 0) / width))
    if ADD:
        result += tl.load(residual_ptr + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + place, result.to(x.dtype), mask=inside)


@triton.jit
def _cross_entropy(logits_ptr, target_ptr, loss_ptr, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * width
    target = tl.load(target_ptr + row)
    chosen = tl.load(logits_ptr + target).to(tl.float32)
    highest = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        value = tl.load(logits_ptr + column, mask=column < width, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(highest, value)
        # a lane without any value yet has -inf - -inf
        total = tl.where(higher == float("-inf"), 0.0, total * tl.exp(highest - higher) + tl.exp(value - higher))
        highest = higher
    top = tl.max(highest, 0)
    log_total = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    tl.store(loss_ptr + row, log_total - chosen)
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        value = tl.load(logits_ptr + column, mask=column < width, other=float("-inf"))
        gradient = tl.exp(value.to(tl.float32) - log_total) - tl.where(column == target, 1.0, 0.0)
        tl.store(logits_ptr + column, gradient.to(value.dtype), mask=column < width)


@triton.jit
def _quantize(
    x_ptr, column_scale_ptr, out_ptr, scale_ptr, width, SCALED: tl.constexpr, LARGEST: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    x = tl.load(x_ptr + row * width + column, mask=inside, other=0.0).to(tl.float32)
    if SCALED:
        x *= tl.load(column_scale_ptr + column, mask=inside, other=0.0)
    scale = tl.maximum(tl.max(tl.abs(x), 0), 1e-12) / LARGEST
    rounded = tl.minimum(tl.maximum(x / scale, -LARGEST), LARGEST)
    tl.store(out_ptr + row * width + column, rounded.to(out_ptr.dtype.element_ty), mask=inside)
    tl.store(scale_ptr + row, scale)


def norm(x: Tensor, pending: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """As ``stock.norm``."""
    rows, width = x.shape
    total = x if pending is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    scale = torch.empty(rows, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    _norm[(rows,)](
        x, x if pending is None else pending, weight, total, normed, scale, width, eps,
        ADD=pending is not None, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return total, normed, scale


def norm_backward(gradient: Tensor, x: Tensor, scale: Tensor, weight: Tensor, residual: Tensor | None) -> Tensor:
    """As ``stock.norm_backward``."""
    rows, width = x.shape
    out = torch.empty_like(x)
    block = triton.next_power_of_2(width)
    _norm_backward[(rows,)](
        gradient, x, scale, weight, gradient if residual is None else residual, out, width,
        ADD=residual is not None, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return out


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """As ``stock.cross_entropy``."""
    rows, width = logits.shape
    losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
    block = min(4096, triton.next_power_of_2(width))
    _cross_entropy[(rows,)](logits, targets, losses, width, BLOCK=block, num_warps=8)
    return losses


def quantize_rows(x: Tensor, column_scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """As ``stock.quantize_rows``."""
    rows, width = x.shape
    out = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty(rows, 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    _quantize[(rows,)](
        x, scale if column_scale is None else column_scale, out, scale, width,
        SCALED=column_scale is not None, LARGEST=_E4M3_MAX, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return out, scale


def _warps(block: int) -> int:
    return 4 if block < _WIDE_ROW else min(32, block // 1024 * 2)
