"""GPUs that a run can be planned for without having one: what they hold and how fast they are."""

import difflib
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

from medtune.errors import SpecError
from medtune.machine.hardware import Accelerator, Machine

__all__ = ["Gpu", "gpu_of", "known_gpus", "machine_with", "sheet_of"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*gi?b", re.IGNORECASE)
_FP8_CAPABILITY = (8, 9)
_REFERENCE = "a100-80"
"""Gpu whose number formats a mere memory size is given."""
_HOST_GIB = 64.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its maker describes it.

    Attributes:
        name: as CUDA reports it, or nearly.
        memory_gib: total memory in GiB as CUDA reports it.
        capability: compute capability.
        tflops: dense 16-bit products in 10^12 operations per second; 0 when unknown.
        fp8_tflops: the same in fp8; 0 without fp8.
        bandwidth_gbs: memory bandwidth in 10^9 bytes per second; 0 when unknown.
        link_gbs: 10^9 bytes per second, each way, to the other GPUs of its machine; 0 when unknown.
        shared_kib: KiB of shared memory that a program of a kernel may take; 0 when unknown.
        source: document that the figures are from, with its address; empty when they are unknown.
    """

    name: str
    memory_gib: float
    capability: tuple[int, int]
    tflops: float = 0.0
    fp8_tflops: float = 0.0
    bandwidth_gbs: float = 0.0
    link_gbs: float = 0.0
    shared_kib: int = 0
    source: str = ""

    @property
    def has_fp8(self) -> bool:
        """Whether fp8 matrix products run in hardware."""
        return self.capability >= _FP8_CAPABILITY


@cache
def known_gpus() -> dict[str, Gpu]:
    """Return the known GPUs by their short names."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(files("medtune.machine").joinpath("gpus.toml").read_text("utf-8"))
    return {key: Gpu(capability=tuple(values.pop("capability")), **values) for key, values in tables.items()}


def gpu_of(accelerator: Accelerator | None) -> Gpu | None:
    """Return what is known of a GPU by its name; an unknown one has its own memory and no speeds."""
    if accelerator is None:
        return None
    sheet = sheet_of(accelerator)
    if sheet is None:
        return Gpu(accelerator.name, accelerator.memory_gib, accelerator.capability)
    return replace(known_gpus()[sheet], name=accelerator.name, memory_gib=accelerator.memory_gib)


def sheet_of(accelerator: Accelerator) -> str | None:
    """Return the short name of the known GPU that a GPU is by its name, capability and memory, None for none."""
    words = _words(accelerator.name)
    alike = [
        (key, c)
        for key, c in known_gpus().items()
        if key.partition("-")[0] in words and c.capability == accelerator.capability
    ]
    near = min(alike, key=lambda pair: abs(pair[1].memory_gib - accelerator.memory_gib), default=None)
    return None if near is None else near[0]


def machine_with(gpu: str) -> Machine:
    """Return a machine with one GPU: a known GPU such as "h200", or one of a size such as "24GiB".

    A size alone is taken for what torch would report as total, on one with bf16 and without fp8.

    Raises:
        SpecError: neither.
    """
    size = _SIZE.fullmatch(gpu.strip())
    if size:
        gib = float(size.group(1))
        return Machine(8, _HOST_GIB, (Accelerator(f"a GPU of {gib:g} GiB", gib, known_gpus()[_REFERENCE].capability),))
    wanted = gpu.strip().lower()
    known = known_gpus().get(wanted)
    if known is None:
        sizes = [name for name in known_gpus() if name.startswith(f"{wanted}-")]
        close = sizes or difflib.get_close_matches(wanted, known_gpus(), n=1, cutoff=0.65)
        meant = f"did you mean {' or '.join(repr(name) for name in close)}? " if close else ""
        raise SpecError(f"unknown GPU '{gpu}'; {meant}known: {', '.join(known_gpus())}, or a size such as 24GiB")
    return Machine(8, _HOST_GIB, (Accelerator(known.name, known.memory_gib, known.capability),))


def _words(name: str) -> set[str]:
    """Return the words of a GPU's name, and neighbours joined: "RTX 4090" is "rtx4090" in the table."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return {*words, *(first + second for first, second in pairwise(words))}
