"""Looks into the bytes of tensors for values that cannot be weights: into all of a small file, into blocks of a large one."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

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
_FEW = 16  # values below which a matrix may well hold one value


@dataclass(frozen=True, slots=True)
class Sampled:
    """What was read of a file, by names of tensors.

    Attributes:
        nonfinite: with values that are NaN or infinite.
        flat: with one value throughout.
        empty: with zeros of either sign and subnormal numbers only.
        matrices: with two dimensions or more, and values enough to differ.
        count: number of all tensors.
    """

    nonfinite: tuple[str, ...]
    flat: tuple[str, ...]
    empty: tuple[str, ...]
    matrices: tuple[str, ...]
    count: int

    @property
    def blank(self) -> tuple[str, ...]:
        """Matrices that say nothing; norms and biases may well hold one value."""
        return tuple(sorted({*self.flat, *self.empty}.intersection(self.matrices)))

    @property
    def is_blank(self) -> bool:
        """Whether half of the matrices say nothing; of a file without a matrix, whether all of its tensors are empty."""
        if self.matrices:
            return 2 * len(self.blank) >= len(self.matrices)
        return 0 < self.count == len(self.empty)


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
    most = size if size <= WHOLE_BYTES else each
    nonfinite, flat, empty = list[str](), list[str](), list[str]()
    with path.open("rb") as file:
        for name, tensor in tensors.items():
            blocks = [_bits_of(tensor.dtype, _read(file, *place)) for place in _places(tensor, most)]
            if any(_holds_nonfinite(tensor.dtype, block) for block in blocks):
                nonfinite.append(name)
            if not any(_holds_normal(tensor.dtype, block) for block in blocks):
                empty.append(name)
            elif len({int(value) for block in blocks for value in (block.min(), block.max())}) <= 1:
                flat.append(name)
    matrices = [name for name, tensor in tensors.items() if _is_matrix(tensor)]
    return Sampled(tuple(nonfinite), tuple(flat), tuple(empty), tuple(matrices), len(tensors))


def _is_matrix(tensor: Tensor) -> bool:
    """Whether a tensor is a matrix of weights, perhaps packed into bytes; masks have more dimensions and are no numbers."""
    dimensions = len(tensor.shape)
    is_number = tensor.dtype.startswith(("F", "BF"))
    return dimensions > 1 and (is_number or dimensions == 2) and math.prod(tensor.shape) >= _FEW  # noqa: PLR2004


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


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


def _bits_of(dtype: str, block: bytes) -> "np.ndarray[Any, Any]":
    """Return the bits of each value, at least one."""
    kind = _EXPONENTS.get(dtype, ("u1", 0))[0]
    return np.frombuffer(block or bytes(8), kind)


def _holds_nonfinite(dtype: str, bits: "np.ndarray[Any, Any]") -> bool:
    if dtype == "F8_E4M3":
        return bool(((bits & _GREATEST_FP8) == _GREATEST_FP8).any())
    if dtype not in _EXPONENTS:
        return False
    mask = np.asarray(_EXPONENTS[dtype][1], bits.dtype)
    return bool(((bits & mask) == mask).any())


def _holds_normal(dtype: str, bits: "np.ndarray[Any, Any]") -> bool:
    """Whether any value has a size of its own: no zero of either sign, and no subnormal number, which counts for nothing."""
    mask = _EXPONENTS[dtype][1] if dtype in _EXPONENTS else _GREATEST_FP8 if dtype.startswith("F8_") else 0xFF
    return bool((bits & np.asarray(mask, bits.dtype)).any())
