"""Bounds the registers of Triton kernels, so that as many programs as possible share a processor."""

import torch
from torch import Tensor

__all__ = ["register_bound"]

_HALF = 2  # bytes of a value; kernels on wider ones hold more and would spill
_GRAIN = 16  # rows of other widths are read in small pieces, whose addresses take more


def register_bound(x: Tensor, most: int | None, generations: tuple[int, ...] = (8, 9)) -> dict[str, int]:
    """Return the launch option that bounds a kernel's registers a thread, or none.

    Args:
        x: [rows, width], what the kernel works on.
        most: the bound, None for none.
        generations: of NVIDIA's GPUs (first number of the compute capability) for which the kernel, compiled with the
            bound, was seen to keep its values in registers.
    """
    if most is None or not x.is_cuda or torch.version.hip is not None:
        return {}
    if x.element_size() != _HALF or x.shape[1] % _GRAIN:
        return {}
    return {"maxnreg": most} if torch.cuda.get_device_capability(x.device)[0] in generations else {}
