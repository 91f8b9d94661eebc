"""Rounds tensors to the types of GGUF files."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from medtune.errors import SpecError

__all__ = ["PRECISIONS", "require_precision", "rounded", "type_of"]

PRECISIONS = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0")
_K_QUANTS = {"Q6_K", "Q5_K_M", "Q4_K_M"}
_SMALLER_ROWS: Mapping[str, str] = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "Q8_0": "F16", "Q5_0": "F16", "Q5_1": "F16", "Q4_0": "F16"}  # fmt: skip
"""Type -> the type for tensors whose rows its blocks do not divide, as llama.cpp's own quantizer chooses."""
_FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "Q5_0": 8, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "BF16": 32}


def require_precision(name: str) -> None:
    """Raise SpecError when the libraries of a precision are not installed."""
    if find_spec("gguf") is None or (name in _K_QUANTS and find_spec("libgguf") is None):
        raise SpecError(f"GGUF files of type {name} need libraries that are not installed: pip install 'medtune[gguf]'")


def type_of(precision: str, name: str, shape: tuple[int, ...], layers: int) -> str:
    """Return the type of a tensor in a file of ``precision``.

    Args:
        precision: of the file.
        name: llama.cpp's name of the tensor.
        shape: rows last dimension first as torch has it.
        layers: of the model; a K-quant keeps more bits of some tensors in some of them.
    """
    import gguf

    if len(shape) == 1:
        return "F32"
    kind = precision.removesuffix("_M")
    if precision in ("Q4_K_M", "Q5_K_M"):
        sensitive = "attn_v.weight" in name or "ffn_down.weight" in name
        layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
        more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2  # noqa: PLR2004 - llama.cpp's
        kind = "Q6_K" if name == "output.weight" or (sensitive and more) else kind
    while kind in _SMALLER_ROWS:
        block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][0]
        if shape[-1] % block == 0:
            break
        kind = _SMALLER_ROWS[kind]
    return kind


def rounded(value: Any, kind: str) -> Any:
    """Return a tensor as the bytes of a type, or as floats of it.

    Raises:
        SpecError: a value has no place in that type.
    """
    import gguf
    import numpy as np

    values = np.ascontiguousarray(value.float().numpy())
    if not np.isfinite(values).all() or (kind == "F16" and np.abs(values).max(initial=0) > 65504):  # noqa: PLR2004
        raise SpecError(f"a weight of the tuned model is beyond what {kind} holds; use quant=BF16")
    if kind == "F32":
        return values
    if kind == "F16":
        return values.astype(np.float16)
    if kind.endswith("_K"):
        import libgguf

        return libgguf.quantize_rows(values, int(gguf.GGMLQuantizationType[kind]))
    return gguf.quantize(values, gguf.GGMLQuantizationType[kind])


def file_type(precision: str) -> int:
    """Return llama.cpp's number of a file's type."""
    return _FILE_TYPES[precision]
