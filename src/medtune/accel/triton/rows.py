"""Triton kernels that work on whole rows: norms, the loss over the vocabulary, rounding to fp8."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# pyright: reportMissingImports=false, reportMissingParameterType=false, reportPossiblyUnboundVariable=false
# pyright: reportUntypedFunctionDecorator=false, reportGeneralTypeIssues=false
# pyright: reportIndexIssue=false, reportCallIssue=false, reportArgumentType=false, reportOperatorIssue=false
# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917 - kernels name their arguments as Triton does

import torch
import triton
import triton.language as tl
from torch import Tensor

from medtune.accel.steps.dropout import Dropout
from medtune.accel.triton.adapters import add_projected
from medtune.accel.triton.device import register_bound
from medtune.accel.triton.dropout import draw_words, dropout_arguments, kept, load_keys
from medtune.accel.triton.use import launch

__all__ = ["cross_entropy", "norm", "norm_backward", "quantize_rows"]

_E4M3_MAX = 448.0
_LOWEST = -1e30
_NORM = {"VALUES": 4096, "num_warps": 4}  # tiles here and in the other rooms: the fastest of ten on an H200
_NORM_BACK = {"VALUES": 8192, "num_warps": 8}
_NORM_BACK_REGISTERS = 80
"""As many as let three programs of the gradient of a norm with adapters share a processor, each thread with 32 values."""
_BOUND_BLOCKS, _BOUND_FACTORS = (2048, 4096, 8192), 48 * 4096
"""Widths of a row for which that holds, and most values of the adapters' factor: with more, as compiled, a thread spills 3 KB."""
_WIDE_ROW = 4096
_FUSED, _FUSED_BACK = 16, 48
"""Highest ranks (sums of ranks) up to which adapters are added inside a norm; above, a product of their own is faster."""


@triton.jit
def _tile(first, rows, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Return rows that exist, columns, which columns exist [1, BLOCK], places and which of them exist.

    A row beyond the end counts as the last one: that takes fewer instructions than a mask on every load.
    """
    row = first + tl.arange(0, ROWS)
    there = tl.minimum(row, rows - 1)
    column = tl.arange(0, BLOCK)
    inside = tl.full([BLOCK], 1, tl.int1) if WIDTH == BLOCK else column < WIDTH
    return there, column, inside, there[:, None] * WIDTH + column[None, :], (row[:, None] < rows) & inside[None, :]


@triton.jit
def _load(place, inside, FULL: tl.constexpr):
    """Load past the first cache, which keeps the factors that all rows share."""
    if FULL:
        return tl.load(place, cache_modifier=".cg")
    return tl.load(place, mask=inside, other=0.0, cache_modifier=".cg")


@triton.jit
def _load_shared(place, inside, FULL: tl.constexpr):
    """Load what all rows share, as fp32."""
    if FULL:
        return tl.load(place).to(tl.float32)
    return tl.load(place, mask=inside, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["rows"])
def _norm(
    x_ptr, pending_ptr, low_ptr, up_ptr, weight_ptr, total_ptr, normed_ptr, scale_ptr, rows, eps,
    ADD: tl.constexpr, RANK: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    FULL: tl.constexpr = WIDTH == BLOCK  # noqa: N806 - a constant
    first = tl.program_id(0).to(tl.int64) * ROWS
    row, column, inside, place, target = _tile(first, rows, WIDTH, ROWS, BLOCK)
    x = _load(x_ptr + place, inside[None, :], FULL)
    if ADD:
        pending = _load(pending_ptr + place, inside[None, :], FULL).to(tl.float32)
        for j in tl.static_range(RANK):
            low = tl.load(low_ptr + row * RANK + j).to(tl.float32)
            pending += low[:, None] * _load_shared(up_ptr + j * WIDTH + column, inside, FULL)[None, :]
        x = (x.to(tl.float32) + pending).to(x.dtype)
        tl.store(total_ptr + place, x, mask=target)
    wide = x.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide, 1) / WIDTH + eps)
    weight = _load_shared(weight_ptr + column, inside, FULL)
    normed = (wide * scale[:, None]).to(x.dtype).to(tl.float32) * weight[None, :]
    tl.store(normed_ptr + place, normed.to(x.dtype), mask=target)
    tl.store(scale_ptr + row, scale)


@triton.jit(do_not_specialize=["rows", "seed_0", "seed_1", "threshold"])
def _norm_backward(
    gradient_ptr, low_ptr, down_ptr, x_ptr, scale_ptr, weight_ptr, residual_ptr, out_ptr, rows,
    keys_ptr, seed_0, seed_1, threshold, factor,
    ADD: tl.constexpr, MEMBERS: tl.constexpr, RANK: tl.constexpr, DROP: tl.constexpr, WIDTH: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    FULL: tl.constexpr = WIDTH == BLOCK  # noqa: N806 - a constant
    first = tl.program_id(0).to(tl.int64) * ROWS
    row, column, inside, place, target = _tile(first, rows, WIDTH, ROWS, BLOCK)
    # both asked for at once, since loads stay in their order; the residual later, or registers would run short
    gradient = _load(gradient_ptr + place, inside[None, :], FULL).to(tl.float32)
    x = _load(x_ptr + place, inside[None, :], FULL)
    scale = tl.load(scale_ptr + row)[:, None]
    if DROP:
        keys = load_keys(keys_ptr, row, rows)
    for member in tl.static_range(MEMBERS):
        if DROP:
            if member % 2 == 0:
                words = draw_words(keys, column, seed_0 if member == 0 else seed_1)
            passing = tl.where(kept(words, member, threshold), factor, 0.0)
            through = tl.zeros([ROWS, BLOCK], tl.float32)
        for j in tl.static_range(RANK):
            low = tl.load(low_ptr + row * (MEMBERS * RANK) + (member * RANK + j)).to(tl.float32)
            down = _load_shared(down_ptr + (member * RANK + j) * WIDTH + column, inside, FULL)
            if DROP:
                through += low[:, None] * down[None, :]
            else:
                gradient += low[:, None] * down[None, :]
        if DROP:
            gradient += through * passing
    inner = gradient * _load_shared(weight_ptr + column, inside, FULL)[None, :]
    direction = x.to(tl.float32) * scale
    result = scale * (inner - direction * (tl.sum(inner * direction, 1) / WIDTH)[:, None])
    if ADD:
        result += _load(residual_ptr + place, inside[None, :], FULL).to(tl.float32)
    tl.store(out_ptr + place, result.to(x.dtype), mask=target)


@triton.jit
def _cross_entropy(
    logits_ptr, target_ptr, loss_ptr, factor_ptr, width, stride,
    SCALED: tl.constexpr, LOWEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    logits_ptr += row * stride
    target = tl.load(target_ptr + row)
    counts = tl.where(target >= 0, 1.0, 0.0)
    chosen = tl.load(logits_ptr + tl.maximum(target, 0)).to(tl.float32)
    # finite, so that lanes without any value give no NaN; against the row's top they count as nothing
    highest = tl.full([BLOCK], LOWEST, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        value = tl.load(logits_ptr + column, mask=column < width, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(highest, value)
        total = total * tl.exp(highest - higher) + tl.exp(value - higher)
        highest = higher
    top = tl.max(highest, 0)
    log_total = top + tl.log(tl.sum(total * tl.exp(highest - top), 0))
    tl.store(loss_ptr + row, (log_total - chosen) * counts)
    if SCALED:
        counts *= tl.load(factor_ptr)
    for start in range(0, width, BLOCK):
        column = start + tl.arange(0, BLOCK)
        value = tl.load(logits_ptr + column, mask=column < width, other=float("-inf"))
        gradient = tl.exp(value.to(tl.float32) - log_total) - tl.where(column == target, 1.0, 0.0)
        tl.store(logits_ptr + column, (gradient * counts).to(value.dtype), mask=column < width)


@triton.jit
def _quantize(
    x_ptr, column_scale_ptr, out_ptr, scale_ptr,
    SCALED: tl.constexpr, LARGEST: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    FULL: tl.constexpr = WIDTH == BLOCK  # noqa: N806 - a constant
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < WIDTH
    x = _load(x_ptr + row * WIDTH + column, inside, FULL).to(tl.float32)
    if SCALED:
        x *= _load_shared(column_scale_ptr + column, inside, FULL)
    scale = tl.maximum(tl.max(tl.abs(x), 0), 1e-12) / LARGEST
    # by a reciprocal, which spares a division for every value; the largest exceeds LARGEST by errors of fp32 only,
    # which rounding to e4m3 takes away
    rounded = (x * (1.0 / scale)).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + row * WIDTH + column, rounded, mask=inside)
    tl.store(scale_ptr + row, scale)


def norm(
    x: Tensor, pending: Tensor | None, adapter: tuple[Tensor, Tensor] | None, weight: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As ``reference.norm``."""
    rows, width = x.shape
    if pending is not None and adapter is not None and adapter[1].shape[0] > _FUSED:
        pending, adapter = pending.addmm_(*adapter), None
    total = x if pending is None else torch.empty_like(x)
    normed = torch.empty_like(x)
    scale = torch.empty(rows, dtype=torch.float32, device=x.device)
    low, up = adapter or (x, x)
    shape = _launch_shape(width, _NORM if adapter else None)
    launch(_norm, (triton.cdiv(rows, shape["ROWS"]),))(
        x, x if pending is None else pending, low, up, weight, total, normed, scale, rows, eps,
        ADD=pending is not None, RANK=up.shape[0] if adapter else 0, WIDTH=width, **shape,
    )  # fmt: skip
    return total, normed, scale


def norm_backward(
    gradient: Tensor,
    through: tuple[Tensor, Tensor, Dropout | None] | None,
    x: Tensor,
    normed: tuple[Tensor, Tensor],
    residual: Tensor | None,
) -> Tensor:
    """As ``reference.norm_backward``."""
    rows, width = x.shape
    if through is not None and through[1].shape[0] > _FUSED_BACK:
        add_projected(gradient, *through)
        through = None
    low, down, dropout = through or (x, x, None)
    members = dropout.members if dropout else 1
    out = torch.empty_like(x) if residual is None else residual
    shape = _launch_shape(width, _NORM_BACK if through else None)
    if dropout is not None:  # masks take registers: half the values a thread
        shape["num_warps"] = min(32, 2 * shape["num_warps"])
    elif through is not None and shape["BLOCK"] in _BOUND_BLOCKS and down.shape[0] * shape["BLOCK"] <= _BOUND_FACTORS:
        shape |= register_bound(x, _NORM_BACK_REGISTERS)
    launch(_norm_backward, (triton.cdiv(rows, shape["ROWS"]),))(
        gradient, low, down, x, *normed, gradient if residual is None else residual, out, rows,
        *dropout_arguments(dropout, x),
        ADD=residual is not None, MEMBERS=members if through else 0, RANK=down.shape[0] // members if through else 0,
        DROP=dropout is not None, WIDTH=width, **shape,
    )  # fmt: skip
    return out


def cross_entropy(logits: Tensor, targets: Tensor, scale: Tensor | None = None) -> Tensor:
    """As ``reference.cross_entropy``."""
    rows, width = logits.shape
    losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
    block = min(4096, triton.next_power_of_2(width))
    launch(_cross_entropy, (rows,))(
        logits, targets, losses, losses if scale is None else scale, width, logits.stride(0),
        SCALED=scale is not None, LOWEST=_LOWEST, BLOCK=block, num_warps=8,
    )  # fmt: skip
    return losses


def quantize_rows(x: Tensor, column_scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """As ``reference.quantize_rows``."""
    rows, width = x.shape
    out = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty(rows, 1, dtype=torch.float32, device=x.device)
    block = triton.next_power_of_2(width)
    launch(_quantize, (rows,))(
        x, scale if column_scale is None else column_scale, out, scale,
        SCALED=column_scale is not None, LARGEST=_E4M3_MAX, WIDTH=width, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return out, scale


def _launch_shape(width: int, tile: dict[str, int] | None) -> dict[str, int]:
    """Return rows per program and warps; with a tile, adapters' factors are read once for all rows of a program."""
    block = triton.next_power_of_2(width)
    if tile is None:
        return {"ROWS": 1, "BLOCK": block, "num_warps": _warps(block)}
    return {"ROWS": max(1, min(16, tile["VALUES"] // block)), "BLOCK": block, "num_warps": tile["num_warps"]}


def _warps(block: int) -> int:
    return 4 if block < _WIDE_ROW else min(32, block // 1024 * 2)
