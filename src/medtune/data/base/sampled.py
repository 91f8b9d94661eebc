"""Looks into the bytes of tensors for values that are not finite: into all of a small file, into blocks of a large one."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from medtune.data.base.headers import Tensor, read_header

__all__ = ["WHOLE_BYTES", "Sampled", "look_into"]

WHOLE_BYTES = 64 * 2**20
"""Files up to this size are read whole; of larger ones about as much is read, from every tensor four blocks."""
_BLOCKS, _LEAST, _MOST = 4, 4 * 1024, 64 * 1024  # blocks of a tensor, and the bytes of all of them
_EXPONENTS: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Type -> how its bits are read, and the exponent that only NaN and infinity have."""
_GREATEST_FP8 = 0x7F  # e4m3 has no infinity, and one NaN of either sign


class Sampled(tuple[tuple[str, ...], bool]):
    """Names of tensors with values that are not finite, and whether any value that was read is not zero."""

    __slots__ = ()


def look_into(path: Path) -> Sampled:
    """Look into a safetensors file; what was looked into before is not read again while the file stays as it is.

    Raises:
        Fault: it is no whole safetensors file.
        OSError: it cannot be read.
    """
    state = path.stat()
    return _look_into(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _look_into(path: Path, size: int, _changed: int) -> Sampled:
    tensors = read_header(path)
    each = max(_LEAST, min(_MOST, WHOLE_BYTES // max(1, len(tensors))))
    wrong, any_value = dict[str, None](), not tensors
    with path.open("rb") as file:
        for name, tensor in tensors.items():
            for start, end in _places(tensor, size if size <= WHOLE_BYTES else each):
                file.seek(start)
                block = file.read(end - start)
                any_value = any_value or any(block)
                if _holds_nonfinite(tensor.dtype, block):
                    wrong[name] = None
    return Sampled((tuple(wrong), any_value))


def _places(tensor: Tensor, most: int) -> Iterator[tuple[int, int]]:
    """Yield where to read: all of a tensor of up to ``most`` bytes, else evenly spread blocks, the first and last included."""
    length = tensor.end - tensor.start
    if length <= most:
        yield tensor.start, tensor.end
        return
    block = most // _BLOCKS // 8 * 8  # whole values of any type
    for number in range(_BLOCKS):
        start = tensor.start + (length - block) * number // (_BLOCKS - 1) // 8 * 8
        yield start, min(start + block, tensor.end)
    yield tensor.end - 8, tensor.end


def _holds_nonfinite(dtype: str, block: bytes) -> bool:
    if dtype == "F8_E4M3":
        return bool(((np.frombuffer(block, np.uint8) & _GREATEST_FP8) == _GREATEST_FP8).any())
    if dtype not in _EXPONENTS:
        return False
    kind, mask = _EXPONENTS[dtype]
    bits = np.frombuffer(block, kind)
    return bool(((bits & np.asarray(mask, kind)) == mask).any())
