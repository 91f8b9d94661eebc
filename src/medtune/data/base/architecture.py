"""The model that a config.json describes, built without memory, and held against the tensors that its files hold.

transformers itself says what is missing: its loader is given tensors of the right types and shapes that hold no values. So
renamed, tied and merged tensors are judged as they are when the base is loaded, and no name of a family decides.
Imported inside functions only: it loads torch and transformers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, __version__

from medtune.data.base.fault import Fault
from medtune.data.base.folder import BaseFolder
from medtune.data.base.headers import Tensor
from medtune.machine.libraries import quiet_libraries
from medtune.specs.bounded import json_value

__all__ = [
    "Architecture",
    "Verdict",
    "attention_for",
    "family_problem",
    "positions_of",
    "read_architecture",
    "verdict_of",
]

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
_OWN_FILES = "get config.json again from where the base comes from"
_PACKED = re.compile(
    r"\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..*)$|\.(SCB|weight_format)$"
)
"""What bitsandbytes keeps beside a weight that it has quantized."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model on torch's meta device: everything of it but its values.

    Attributes:
        config: as transformers reads it.
        model: without memory.
        attention: the implementation that it can run: "sdpa", else "eager".
        has_encoder: whether the config is that of an encoder with a decoder, of which the model is the decoder alone.
    """

    config: Any
    model: Any
    attention: str
    has_encoder: bool = False

    @property
    def rows(self) -> int:
        """Rows of the embedding: ids from here on have no vector."""
        return int(self.model.get_input_embeddings().weight.shape[0])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What loading would find; names as the model has them, "unused" as the files have them.

    Attributes:
        missing: parameters that no file holds, which would be random.
        other_shapes: parameter, its shape in the files, and its shape by config.json.
        unused: tensors that the model does not take.
    """

    missing: tuple[str, ...]
    other_shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    unused: tuple[str, ...]


def read_architecture(folder: BaseFolder) -> Architecture:
    """Build the model that config.json describes, without memory; built once while the file stays as it is.

    Raises:
        Fault: transformers cannot read config.json, or build what it describes.
    """
    return _read_architecture(folder.path, folder.config_state)


def positions_of(folder: BaseFolder) -> int | None:
    """Return how many positions a base knows, None where its config.json does not say.

    Raises:
        Fault: as ``read_architecture``.
    """
    known = getattr(read_architecture(folder).config.get_text_config(), "max_position_embeddings", None)
    return known if isinstance(known, int) and known > 0 else None


def verdict_of(folder: BaseFolder) -> Verdict:
    """Say what loading the weights of ``folder`` would find; reads headers only, once while the files stay as they are.

    Raises:
        Fault: as ``read_architecture``; or the loader cannot take such tensors at all.
    """
    return _verdict_of(folder.path, folder.state)


def family_problem(model_type: str) -> str:
    """Return why transformers has no causal language model of a type, as the end of a sentence; empty where it has one."""
    if model_type not in CONFIG_MAPPING:
        return f"is of type '{model_type}', which transformers {__version__} does not know"
    if CONFIG_MAPPING[model_type] not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return f"is of type '{model_type}', of which transformers has no causal language model"
    return ""


@quiet_libraries()
def attention_for(config: Any, wanted: str = "auto") -> str:
    """Return the attention that a model of this config is run with: "sdpa" where its class has it, else "eager"."""
    if wanted == "eager":
        return "eager"
    try:
        _build(config, "sdpa")
    except (ValueError, ImportError):
        return "eager"
    return "sdpa"


@lru_cache(maxsize=4)
@quiet_libraries()
def _read_architecture(path: Path, _state: object) -> Architecture:
    try:
        config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:
        raise Fault(f"has a config.json that transformers cannot read ({_first_line(error)})", _OWN_FILES) from error
    has_encoder = bool(getattr(config, "is_encoder_decoder", False))  # building the decoder alone changes it
    if getattr(config, "quantization_config", None) is not None:
        del config.quantization_config  # judged apart; here the model is built as it would be without
    try:
        attention = attention_for(config)
        return Architecture(config, _build(config, attention), attention, has_encoder)
    except Exception as error:
        raise Fault(f"has a config.json of which no model can be built ({_first_line(error)})", _OWN_FILES) from error


@lru_cache(maxsize=4)
@quiet_libraries()
def _verdict_of(path: Path, _state: object) -> Verdict:
    folder = BaseFolder(path)
    built = read_architecture(folder)
    loader: Any = type(built.model)
    try:
        _model, found = loader.from_pretrained(
            None,
            config=built.config,
            state_dict=dict(_without_values(folder.tensors)),
            device_map={"": "meta"},
            attn_implementation=built.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        reason = _first_line(error)
        raise Fault(f"has tensors that its architecture cannot take ({reason})", _OWN_FILES) from error
    shapes = sorted((name, tuple(held), tuple(needed)) for name, held, needed in found["mismatched_keys"])
    return Verdict(tuple(sorted(found["missing_keys"])), tuple(shapes), tuple(sorted(found["unexpected_keys"])))


def _build(config: Any, attention: str) -> Any:
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def _without_values(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor on the meta device; one that bitsandbytes has packed has its own shape again."""
    for name, tensor in tensors.items():
        if _PACKED.search(name):
            continue
        shape = _unpacked_shape(name, tensors) or tensor.shape
        yield name, torch.empty(shape, dtype=_DTYPES.get(tensor.dtype, torch.uint8), device="meta")


_MOST_STATE = 2**16
"""Bytes of bitsandbytes' state beside a weight; it has some hundred."""


def _unpacked_shape(name: str, tensors: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Return the shape that a packed weight had, which bitsandbytes keeps as JSON beside it; None where it has none."""
    for kind in ("nf4", "fp4"):
        kept = tensors.get(f"{name}.quant_state.bitsandbytes__{kind}")
        if kept is not None:
            with kept.file.open("rb") as file:
                file.seek(kept.start)
                return tuple(json_value(file.read(min(kept.end - kept.start, _MOST_STATE)).decode())["shape"])
    return None


def _first_line(error: Exception) -> str:
    """Return the beginning of a library's message, on one line; a config holds no row."""
    text = " ".join(str(error).split())
    most = 160
    return f"{type(error).__name__}: {text[:most]}{'...' if len(text) > most else ''}" if text else type(error).__name__
