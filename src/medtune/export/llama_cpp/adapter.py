"""Writes a LoRA adapter as a GGUF file."""

from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.adapter_delta import AdapterDelta
from medtune.export.llama_cpp.families import Layout
from medtune.export.llama_cpp.writing import write_tensors

__all__ = ["write_adapter"]


def write_adapter(file: Path, delta: AdapterDelta, layout: Layout) -> None:
    """Write the factors in fp32, the rows of the second in llama.cpp's order.

    Raises:
        SpecError: a layer has no place in llama.cpp's form of its family.
    """
    import gguf

    factors = dict[str, Any]()
    for name, layer in delta.layers.items():
        other = layout.names(name)
        if other is None or layer.transposed:
            raise SpecError(f"layer '{name}' has no place in a GGUF adapter of its family; export to merged")
        factors[f"{other}.lora_a"] = layer.a
        factors[f"{other}.lora_b"] = layout.arranged(name, layer.b)
    writer: Any = gguf.GGUFWriter(file, layout.family.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    # llama.cpp divides by the rank, whatever the adapter
    writer.add_float32("adapter.lora.alpha", delta.alpha * delta.r**0.5 if delta.rslora else delta.alpha)
    shapes = {name: tuple(value.shape) for name, value in factors.items()}
    write_tensors(writer, shapes, dict.fromkeys(factors, "F32"), lambda name: factors[name])
