"""What this machine gives just now: products of matrices a second, and bytes a second off the disk; each measured once a process."""

import contextlib
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

__all__ = ["product_speed", "read_speed"]

_PROBE_FLOP = 4e8
"""Floating point operations of a probe at most, so that it takes some hundredths of a second on a slow core."""
_LEAST_ROWS, _TIMES = 16, 3
_READ_BYTES = 8 * 2**20
_LEAST_BYTES = 2**20
"""A smaller file says how fast a file is opened, not how fast one is read."""


@cache
def product_speed(width: int, wider: int) -> float:
    """Return the floating point operations a second of fp32 products of ``width`` by ``wider`` weights on the CPU.

    The fastest of three, with as many threads as training has.
    """
    import torch

    rows = max(_LEAST_ROWS, int(_PROBE_FLOP / (2 * width * wider)))
    left, right = torch.ones(rows, width), torch.ones(width, wider)
    seconds = [_timed(lambda: left @ right) for _ in range(_TIMES + 1)]  # the first one starts the threads
    return 2.0 * rows * width * wider / min(seconds[1:])


@cache
def read_speed(path: Path) -> float | None:
    """Return the bytes a second at which the middle of a file is read off its disk; None where it is small or unreadable.

    What the system holds of that part in memory is let go before, where the system can: else memory would be measured.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size < _LEAST_BYTES:
                return None
            count, place = min(size, _READ_BYTES), max(0, size - _READ_BYTES) // 2
            with contextlib.suppress(AttributeError, OSError):  # no such call on this system, or not for this disk
                os.posix_fadvise(file.fileno(), place, count, os.POSIX_FADV_DONTNEED)
            file.seek(place)
            began, got = time.perf_counter(), 0
            while got < count and (read := file.read(count - got)):
                got += len(read)
            return got / max(time.perf_counter() - began, 1e-6)
    except OSError:
        return None


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return max(time.perf_counter() - began, 1e-6)
