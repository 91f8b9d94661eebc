"""Reads a safetensors file by its header, without torch: names, types, shapes, and whether values are finite."""

import math
from pathlib import Path
from typing import Any

from medtune.specs.bounded import LONGEST_HEADER, json_value

__all__ = ["SafetensorsFile"]

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_EXPONENTS = {"F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
"""Floats whose exponent bits are all set are infinite or NaN; numpy has no bfloat16, and needs none for that."""
_AT_ONCE = 1 << 22


class SafetensorsFile:
    """A safetensors file whose header is whole and covers all of its bytes.

    Attributes:
        kinds: name -> type, such as "F32".
        shapes: name -> shape.

    Raises:
        OSError: it cannot be read.
        ValueError: its header is not that of a whole safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError("its header is too long")
            header = _parse(file.read(length))
        self.kinds: dict[str, str] = {name: entry["dtype"] for name, entry in header.items()}
        self.shapes: dict[str, tuple[int, ...]] = {name: tuple(entry["shape"]) for name, entry in header.items()}
        self._starts = {name: 8 + length + entry["data_offsets"][0] for name, entry in header.items()}
        end = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, last = entry["data_offsets"]
            if first != end or last - first != math.prod(entry["shape"]) * _BYTES[entry["dtype"]]:
                raise ValueError(f"the place of '{name}' does not fit its shape")
            end = last
        if path.stat().st_size != 8 + length + end:
            raise ValueError("it is longer or shorter than its header says")

    def is_finite(self, name: str) -> bool:
        """Whether all values of a tensor of a type in F32, F16 and BF16 are finite."""
        import numpy as np

        kind, exponent = _EXPONENTS[self.kinds[name]]
        left = math.prod(self.shapes[name])
        with self._path.open("rb") as file:
            file.seek(self._starts[name])
            while left:
                values = np.fromfile(file, dtype=kind, count=min(left, _AT_ONCE))
                if bool(((values & exponent) == exponent).any()):
                    return False
                left -= len(values)
        return True


def _parse(content: bytes) -> dict[str, dict[str, Any]]:
    try:
        header: Any = json_value(content.decode())
    except ValueError:
        header = None
    if isinstance(header, dict):
        header.pop("__metadata__", None)
        if all(_is_entry(entry) for entry in header.values()):
            return header
    raise ValueError("its header cannot be read")


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.get("dtype") not in _BYTES:
        return False
    numbers = (entry.get("shape"), entry.get("data_offsets"))
    are_lists = all(isinstance(n, list) and all(type(i) is int and i >= 0 for i in n) for n in numbers)
    return are_lists and len(entry["data_offsets"]) == 2  # noqa: PLR2004 - begin and end
