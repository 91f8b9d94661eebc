"""What this machine can compute with: devices, memory, number formats."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = [
    "Accelerator",
    "Machine",
    "all_ranks_say",
    "compute_dtype",
    "describe_machine",
    "first_rank_says",
    "free_below_peak",
    "is_first_rank",
    "local_device",
    "rank",
    "resident_peak_gib",
    "seed_all",
    "world_size",
]

T = TypeVar("T")

_GIB = 1024**3
_BF16_CAPABILITY = 8  # Ampere; earlier chips emulate bf16
_FP8_CAPABILITY = (8, 9)  # Ada and Hopper


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One CUDA device: its name, total memory in GiB and compute capability such as (9, 0)."""

    name: str
    memory_gib: float
    capability: tuple[int, int]

    @property
    def has_bf16(self) -> bool:
        """Whether bf16 matrix products run in hardware."""
        return self.capability[0] >= _BF16_CAPABILITY

    @property
    def has_fp8(self) -> bool:
        """Whether fp8 matrix products run in hardware."""
        return self.capability >= _FP8_CAPABILITY

    @property
    def without_fp8(self) -> str:
        """What to tell a user who asks for fp8 on a device that lacks it."""
        has, needs = (f"{major}.{minor}" for major, minor in (self.capability, _FP8_CAPABILITY))
        return (
            f"quant.scheme 'fp8' needs a GPU of compute capability {needs} (Ada, Hopper or newer) and {self.name} has "
            f"{has}; use quant.scheme=nf4 or none"
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU cores usable by this process, memory in GiB, and CUDA devices."""

    cpu_cores: int
    memory_gib: float
    accelerators: tuple[Accelerator, ...]

    @property
    def accelerator(self) -> Accelerator | None:
        """The first CUDA device, or None."""
        return self.accelerators[0] if self.accelerators else None


def describe_machine() -> Machine:
    """Look at this machine; imports torch to see CUDA devices."""
    import torch

    accelerators = tuple(
        Accelerator(p.name, p.total_memory / _GIB, (p.major, p.minor))
        for p in (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return Machine(len(os.sched_getaffinity(0)), memory, accelerators)


def local_device() -> str:
    """Return this process's torch device: its own GPU under a launcher, else the first, else the CPU."""
    import torch

    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}" if torch.cuda.is_available() else "cpu"


def free_below_peak(device: str) -> float | None:
    """Return the GiB that may be taken while this process stays below the device memory it once held; None off a GPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return (torch.cuda.max_memory_allocated(device) - torch.cuda.memory_allocated(device)) / _GIB


def resident_peak_gib() -> float:
    """Return the GiB that this process held at most.

    On Linux from /proc: there ``ru_maxrss`` begins at the peak of whatever process started this one.
    """
    status = Path("/proc/self/status")
    own = re.search(r"VmHWM:\s+(\d+) kB", status.read_text("utf-8")) if status.exists() else None
    if own is not None:
        return int(own[1]) * 1024 / _GIB
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / _GIB


def compute_dtype(wanted: str, accelerator: Accelerator | None) -> str:
    """Resolve "auto": bf16 where the GPU has it, fp16 on older GPUs, fp32 on a CPU (where 16-bit products are slow)."""
    if wanted != "auto":
        return wanted
    if accelerator is None:
        return "fp32"
    return "bf16" if accelerator.has_bf16 else "fp16"


def is_first_rank() -> bool:
    """Whether this process writes files: the only one, or rank 0 under a launcher."""
    return os.environ.get("RANK", "0") == "0"


def rank() -> int:
    """Return the number of this process among those that train together, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes that train together, as their launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_rank_says(value: T) -> T:
    """Return the first rank's ``value`` on every rank; all ranks must call it."""
    if world_size() == 1:
        return value
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.cuda.is_available())  # sets up the process group
    values = [value]
    broadcast_object_list(values)
    return values[0]


def all_ranks_say(value: T) -> list[T]:
    """Return what every rank says, by number; all ranks must call it, after ``first_rank_says``."""
    if world_size() == 1:
        return [value]
    from accelerate.utils import gather_object

    found: list[T] = gather_object([value])
    return found


def seed_all(seed: int) -> None:
    """Seed python, numpy and torch on every device."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries underneath draw from the global state
    torch.manual_seed(seed)
