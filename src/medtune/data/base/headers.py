"""Reads which tensors a safetensors file holds, and whether all of their bytes are there; loads no library for that."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from medtune.data.base.fault import Fault
from medtune.specs.bounded import LONGEST_HEADER, json_value

__all__ = ["AGAIN", "Tensor", "read_header"]

AGAIN = "get the file again from where the base comes from"
_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F16": 16, "BF16": 16, "F32": 32,
    "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits of a value, by the names that safetensors gives types."""
_LENGTH = 8  # bytes that say how long the header is
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file: its type by safetensors' name, its shape, and its bytes from ``start`` up to ``end``."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        Fault: the file is no safetensors file, or not all of its bytes are there.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_LENGTH + len(_POINTER))
        if first.startswith(_POINTER):
            raise Fault(f"has a Git LFS pointer in the place of '{path.name}'", "run git lfs pull in its folder")
        length = int.from_bytes(first[:_LENGTH], "little")
        if size < _LENGTH or not 0 < length <= LONGEST_HEADER or _LENGTH + length > size:
            raise Fault(f"has no safetensors file in '{path.name}': its {size:,} bytes hold no whole header", AGAIN)
        file.seek(_LENGTH)
        text = file.read(length)
    try:
        values: Any = json_value(text.decode())
        found = dict(_tensors(values, path, _LENGTH + length))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise Fault(f"has no safetensors file in '{path.name}': its header is damaged", AGAIN) from error
    _require_whole(found, path, _LENGTH + length, size)
    return found


def _tensors(values: Mapping[str, Mapping[str, Any]], path: Path, origin: int) -> Iterator[tuple[str, Tensor]]:
    for name, entry in values.items():
        if name == "__metadata__":
            continue
        shape = tuple(int(length) for length in cast("list[int]", entry["shape"]))
        start, end = (int(offset) for offset in cast("list[int]", entry["data_offsets"]))
        needed = -(-math.prod(shape) * _BITS[entry["dtype"]] // 8)
        if min((*shape, start), default=0) < 0 or end - start != needed:
            raise ValueError(name)
        yield name, Tensor(entry["dtype"], shape, path, origin + start, origin + end)


def _require_whole(found: Mapping[str, Tensor], path: Path, origin: int, size: int) -> None:
    """Refuse a file whose tensors overlap, leave gaps, or do not end where it ends."""
    end = origin
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != end:
            raise Fault(f"has no safetensors file in '{path.name}': its tensors overlap or leave gaps", AGAIN)
        end = tensor.end
    if end > size:
        raise Fault(f"has a file that is cut short: '{path.name}' has {size:,} of {end:,} bytes", AGAIN)
    if end < size:
        raise Fault(f"has bytes after the last tensor of '{path.name}': {size:,} instead of {end:,}", AGAIN)
