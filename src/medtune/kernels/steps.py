"""Chooses the form of the fused steps: Triton kernels on a GPU that has Triton, else stock PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.decoder import Heads
from medtune.kernels import stock, stock_gate
from medtune.kernels.dropout import Dropout
from medtune.kernels.gate import AfterGate, BeforeGate
from medtune.kernels.heads import HeadNorms
from medtune.triton_use import has_triton

__all__ = ["Steps", "choose_steps", "highest_rank", "stock_steps", "triton_steps"]

_ROOMY = 160 * 1024  # bytes of shared memory a program may take on data-centre cards; on others about 99 KiB
_HALF = 2  # bytes of a value
_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Steps:
    """The fused steps; ``stock`` and ``stock_gate`` say what each does."""

    name: str
    norm: Callable[[Tensor, Tensor | None, _Pair | None, Tensor, float], tuple[Tensor, Tensor, Tensor]]
    norm_backward: Callable[
        [Tensor, tuple[Tensor, Tensor, Dropout | None] | None, Tensor, _Pair, Tensor | None], Tensor
    ]
    project: Callable[[Tensor, Tensor, float, Dropout | None], Tensor]
    add_projected: Callable[[Tensor, Tensor, Tensor, Dropout | None], None]
    weight_gradient: Callable[[Tensor, Tensor, Dropout | None, _Pair | None, Tensor], None]
    block_gradients: Callable[[Tensor, Tensor, Tensor, tuple[int, ...], float, Tensor], Tensor]
    rotate: Callable[[Tensor, _Pair | None, _Pair, Heads, HeadNorms | None], Tensor]
    rotate_backward: Callable[[tuple[Tensor, Tensor, Tensor], _Pair, Heads, tuple[Tensor, HeadNorms] | None], Tensor]
    swiglu: Callable[[Tensor, BeforeGate | None, AfterGate | None], tuple[Tensor, Tensor | None]]
    swiglu_backward: Callable[[Tensor, Tensor, BeforeGate | None, AfterGate | None], Tensor | None]
    cross_entropy: Callable[[Tensor, Tensor], Tensor]
    quantize_rows: Callable[[Tensor, Tensor | None], _Pair]
    restore: Callable[[Tensor, Any, Tensor], bool]


def choose_steps(device: torch.device, r: int, dtype: torch.dtype) -> Steps:
    """Return the fastest form that runs on ``device`` with adapters of rank ``r``, computing in ``dtype``."""
    if device.type != "cuda" or not has_triton():
        return stock_steps()
    memory: int = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    return triton_steps() if r <= highest_rank(memory, dtype) else stock_steps()


def highest_rank(memory: int, dtype: torch.dtype) -> int:
    """Return the highest rank for which the tiles of the Triton kernels fit the shared memory, 0 for none.

    Read off the kernels as compiled for GPUs of both kinds.

    Args:
        memory: bytes of shared memory that a program may take.
        dtype: compute type.
    """
    if dtype.itemsize > _HALF:
        return 64 if memory >= _ROOMY else 0
    return 128 if memory >= _ROOMY else 64


def triton_steps() -> Steps:
    """Return the Triton kernels."""
    from medtune.kernels import triton_adapters, triton_blocks, triton_four_bit, triton_gate, triton_rotary, triton_rows

    return Steps(
        "triton",
        norm=triton_rows.norm,
        norm_backward=triton_rows.norm_backward,
        project=triton_adapters.project,
        add_projected=triton_adapters.add_projected,
        weight_gradient=triton_adapters.weight_gradient,
        block_gradients=triton_blocks.block_gradients,
        rotate=triton_rotary.rotate,
        rotate_backward=triton_rotary.rotate_backward,
        swiglu=triton_gate.swiglu,
        swiglu_backward=triton_gate.swiglu_backward,
        cross_entropy=triton_rows.cross_entropy,
        quantize_rows=triton_rows.quantize_rows,
        restore=triton_four_bit.restore,
    )


def stock_steps() -> Steps:
    """Return the forms in stock PyTorch."""
    names = (name for name in Steps.__slots__ if name != "name")
    return Steps(
        "stock", **{name: getattr(stock_gate if name in stock_gate.__all__ else stock, name) for name in names}
    )
