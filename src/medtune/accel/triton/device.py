"""What the Triton kernels' launches depend on the GPU for: its generation, and how many registers they may take."""

import torch
from torch import Tensor

__all__ = ["HALF", "HOPPER", "generation", "is_half_on_hopper", "register_bound"]

HALF = 2
"""Bytes of a value in half precision."""
HOPPER = 9
_GRAIN = 16  # rows of other widths are read in small pieces, whose addresses take more registers


def generation(x: Tensor) -> int:
    """Return the first number of the compute capability of the NVIDIA GPU that holds ``x``, 0 for anything else."""
    if not x.is_cuda or torch.version.hip is not None:
        return 0
    return torch.cuda.get_device_capability(x.device)[0]


def is_half_on_hopper(x: Tensor) -> bool:
    """Whether ``x`` is in half precision on a GPU of Hopper's generation, whose shared memory holds larger tiles."""
    return x.element_size() == HALF and generation(x) == HOPPER


def register_bound(x: Tensor, most: int | None, generations: tuple[int, ...] = (8, 9)) -> dict[str, int]:
    """Return the launch option that bounds a kernel's registers a thread, or none.

    Args:
        x: [rows, width], what the kernel works on; wider values than half precision would spill.
        most: the bound, None for none.
        generations: of GPUs for which the kernel, compiled with the bound, was seen to keep its values in registers.
    """
    if most is None or x.element_size() != HALF or x.shape[1] % _GRAIN:
        return {}
    return {"maxnreg": most} if generation(x) in generations else {}
