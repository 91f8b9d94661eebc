"""Writes the tensors of a GGUF file one by one, after all that is said of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.llama_cpp.families import Layout
from medtune.export.llama_cpp.metadata import add_sizes, rope_factors
from medtune.export.llama_cpp.precisions import file_type, rounded, type_of
from medtune.export.llama_cpp.vocabulary import Vocabulary, add_vocabulary
from medtune.export.tuned_weights import TunedWeights

__all__ = ["WholeModel", "write_model", "write_tensors"]


@dataclass(frozen=True, slots=True)
class WholeModel:
    """What goes into a file.

    Attributes:
        weights: the tensors.
        layout: how llama.cpp has them.
        vocabulary: the tokenizer.
        splitting: how byte-level BPE splits a text first.
        precision: type of the file.
        read: which values of a tensor: those of the tuned model, or of its base.
    """

    weights: TunedWeights
    layout: Layout
    vocabulary: Vocabulary
    splitting: str | None
    precision: str
    read: Callable[[str], Any]


def write_model(file: Path, model: WholeModel) -> dict[str, int]:
    """Write a whole model.

    Returns:
        Type -> number of tensors stored so.

    Raises:
        SpecError: a tensor of the base has no place in llama.cpp's form of its family.
    """
    import gguf

    layout, names = model.layout, _named(model)
    writer: Any = gguf.GGUFWriter(file, layout.family.architecture)
    writer.add_file_type(file_type(model.precision))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_sizes(writer, layout, len(model.vocabulary.tokens))
    add_vocabulary(writer, model.vocabulary, model.splitting)
    factors, layers = rope_factors(layout), int(layout.config.num_hidden_layers)
    given: Mapping[str, Any] = {} if factors is None else {"rope_freqs.weight": factors}
    kinds = {
        other: type_of(model.precision, other, model.weights.names[name].shape, layers) for other, name in names.items()
    }
    kinds |= dict.fromkeys(given, "F32")

    def value(other: str) -> Any:
        if other in given:
            return given[other]
        return layout.arranged(names[other], model.read(names[other]))

    shapes = {other: model.weights.names[name].shape for other, name in names.items()}
    shapes |= {other: tuple(tensor.shape) for other, tensor in given.items()}
    write_tensors(writer, shapes, kinds, value)
    return {kind: list(kinds.values()).count(kind) for kind in sorted(set(kinds.values()))}


def _named(model: WholeModel) -> dict[str, str]:
    """Return llama.cpp's name of each tensor -> the base's."""
    found = dict[str, str]()
    for name in model.weights.in_order():
        if name == "lm_head.weight" and model.weights.folder.config.get("tie_word_embeddings"):
            continue  # the same values as the embedding's
        if name.endswith("rotary_emb.inv_freq"):
            continue  # computed from the config
        other = model.layout.names(name)
        if other is None:
            raise SpecError(f"tensor '{name}' of the base has no place in a GGUF file of its family; export to merged")
        found[other] = name
    return found


def write_tensors(
    writer: Any, shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, str], value: Callable[[str], Any]
) -> None:
    """Write head and tensors, one of which is in memory at a time.

    Args:
        writer: gguf's writer, with its metadata.
        shapes: llama.cpp's name of a tensor -> its shape.
        kinds: likewise its type.
        value: returns a tensor by that name.
    """
    import gguf
    import numpy as np

    for name, shape in shapes.items():
        kind = gguf.GGMLQuantizationType[kinds[name]]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        nbytes = int(np.prod(shape)) // block * size
        writer.add_tensor_info(name, shape, np.dtype(np.float32), nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name in shapes:
        writer.write_tensor_data(np.ascontiguousarray(rounded(value(name), kinds[name])))
    writer.close()
