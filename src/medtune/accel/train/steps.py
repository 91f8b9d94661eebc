"""Chooses the form of the fused steps: Triton kernels on a GPU that has Triton, else reference PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.accel.model.heads import HeadNorms, Heads
from medtune.accel.steps import reference, reference_gate
from medtune.accel.steps.dropout import Dropout
from medtune.accel.steps.gate import AfterGate, BeforeGate
from medtune.accel.triton.device import shared_memory
from medtune.accel.triton.use import has_triton

__all__ = ["Steps", "choose_steps", "highest_rank", "reference_steps", "triton_steps"]

_ROOMY = 160 * 1024  # bytes of shared memory a program may take on data-centre GPUs; on others about 99 KiB
_HALF = 2  # bytes of a value
_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Steps:
    """The fused steps; ``reference`` and ``reference_gate`` say what each does."""

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
    cross_entropy: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    quantize_rows: Callable[[Tensor, Tensor | None], _Pair]
    dequantize: Callable[[Tensor, Any, Tensor], bool]


def choose_steps(device: torch.device, r: int, dtype: torch.dtype) -> Steps:
    """Return the fastest form that runs on ``device`` with adapters of rank ``r``, computing in ``dtype``."""
    if device.type != "cuda" or not has_triton():
        return reference_steps()
    return triton_steps() if r <= highest_rank(shared_memory(device) or 0, dtype) else reference_steps()


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
    from medtune.accel.triton import adapters, blocks, four_bit, gate, rotary, rows

    return Steps(
        "triton",
        norm=rows.norm,
        norm_backward=rows.norm_backward,
        project=adapters.project,
        add_projected=adapters.add_projected,
        weight_gradient=adapters.weight_gradient,
        block_gradients=blocks.block_gradients,
        rotate=rotary.rotate,
        rotate_backward=rotary.rotate_backward,
        swiglu=gate.swiglu,
        swiglu_backward=gate.swiglu_backward,
        cross_entropy=rows.cross_entropy,
        quantize_rows=rows.quantize_rows,
        dequantize=four_bit.dequantize,
    )


def reference_steps() -> Steps:
    """Return the forms in plain PyTorch."""
    names = (name for name in Steps.__slots__ if name != "name")
    return Steps(
        "reference",
        **{name: getattr(reference_gate if name in reference_gate.__all__ else reference, name) for name in names},
    )
