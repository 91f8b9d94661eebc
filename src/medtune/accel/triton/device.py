"""What the Triton kernels' launches depend on the GPU for: its generation, its shared memory, the registers they may take."""

import torch
from torch import Tensor

__all__ = ["HALF", "HOPPER", "generation", "has_fast_dots", "is_half_on_hopper", "register_bound", "shared_memory"]

HALF = 2
"""Bytes of a value in half precision."""
HOPPER = 9
_AMPERE = 8
_LEAST_SHARED = 48 * 1024  # what every NVIDIA GPU has
_GRAIN = 16  # rows of other widths are read in small pieces, whose addresses take more registers


def generation(x: Tensor) -> int:
    """Return the first number of the compute capability of the NVIDIA GPU that holds ``x``, 0 for anything else."""
    return _chip(x.device)[0]


def has_fast_dots(device: torch.device) -> bool:
    """Whether Triton multiplies tiles on tensor cores: from Ampere on.

    On Turing the threads do it, each with whole rows of both sides in its registers, so that tiles must be narrow where they
    are summed over; as compiled, wide ones spill up to 60 KB a thread.
    """
    return not 0 < _chip(device)[0] < _AMPERE


def shared_memory(device: torch.device) -> int | None:
    """Return the bytes of shared memory that a program may take on a GPU, None for anything else."""
    return _chip(device)[1]


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


def _chip(device: torch.device) -> tuple[int, int | None]:
    """Return generation and shared memory."""
    if device.type != "cuda":
        return 0, None
    properties = torch.cuda.get_device_properties(device)
    memory = int(getattr(properties, "shared_memory_per_block_optin", _LEAST_SHARED))
    return 0 if torch.version.hip is not None else properties.major, memory
