"""Runs a model without leaving a trace: modes, values that modules keep, and all generators are put back."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["untouched"]

_LARGE = 1 << 20
"""Values of a buffer beyond which it holds weights, which no pass writes to."""


@contextmanager
def untouched(model: Any, device: torch.device) -> Iterator[None]:
    """Put back whatever a model and the generators note of passes that are run inside, bit for bit.

    Trained parameters are the caller's to put back where it changes them.
    """
    modules = list(model.modules())
    before = [(m, dict(m.__dict__), dict(m._parameters), dict(m._buffers)) for m in modules]  # noqa: SLF001 - no other way
    values = [(b, b.detach().clone()) for b in model.buffers() if b.numel() <= _LARGE]
    devices = [device] if device.type == "cuda" else []
    try:
        for module in modules:
            if hasattr(module, "support_avx512bf16_for_cpu"):
                vars(module)["support_avx512bf16_for_cpu"] = False  # bitsandbytes would repack the weights for good
        with torch.random.fork_rng(devices), _host_generators():
            yield
    finally:
        for module, own, parameters, buffers in before:
            module.__dict__.clear()
            module.__dict__.update(own)
            for place, kept in ((module._parameters, parameters), (module._buffers, buffers)):  # noqa: SLF001 - as above
                place.clear()
                place.update(kept)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)
        if device.type == "cuda":
            torch.cuda.empty_cache()


@contextmanager
def _host_generators() -> Iterator[None]:
    """Put back Python's and NumPy's generators, from which some models draw."""
    import numpy as np

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what models draw from
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above
