"""Loads a frozen base and its tokenizer through transformers, for every quantizer alike."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from medtune.data.base.inspection import BASE_CHECKS, inspect_base
from medtune.data.hub.models import loadable
from medtune.errors import BaseDamagedError, BaseUnsuitedError, SpecError
from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec, RunSpec

__all__ = ["attention_of", "load_base", "require_all", "settings_of"]


def load_base(
    model: ModelSpec,
    spec: QuantSpec,
    place: str,
    quantization: Callable[[Any], Any] = lambda _dtype: None,
    read: Callable[[ModelSpec, Any], Any] | None = None,
) -> Loaded:
    """Load base and tokenizer once they are inspected; weights come from safetensors only, code only from transformers.

    Args:
        model: repository and commit, or a local folder.
        spec: storage scheme and compute type.
        place: torch device that the weights are loaded to.
        quantization: returns transformers' quantization config for a torch dtype, or None.
        read: makes the model of its files, for a torch dtype, in the place of transformers' own loader.

    Returns:
        The model in evaluation mode with every parameter frozen.

    Raises:
        BaseUnsuitedError: the base cannot be used so.
        BaseDamagedError: its files are damaged, or lack what its architecture needs.
        HubError: the files are neither local nor given by the hub.
        CorruptDownloadError: a file is not what the hub states.
    """
    import torch

    from medtune.data.stop_ids import configured_ends, stop_ids
    from medtune.data.tokenizer import load_tokenizer
    from medtune.machine.hardware import compute_dtype, describe_machine

    inspect_base(RunSpec(model=model, quant=spec), loading=True, checks=BASE_CHECKS)
    dtype_name = compute_dtype(spec.compute_dtype, describe_machine().accelerator)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype_name]
    tokenizer = load_tokenizer(model)
    base = read(model, dtype) if read else _read(model, place, dtype, quantization(dtype))
    base.requires_grad_(requires_grad=False)
    base.eval()
    _name_special_tokens(base, tokenizer)
    return Loaded(base, tokenizer, place, dtype_name, stop_ids(tokenizer, configured_ends(model)), spec.scheme)


def _read(model: ModelSpec, place: str, dtype: Any, quantization: Any) -> Any:
    from transformers import AutoModelForCausalLM

    folder = loadable(model)  # local from here on, whatever becomes of the hub
    try:
        config = settings_of(folder, dtype)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            config=config,
            dtype=dtype,
            # Named explicitly: a name in the config could otherwise load kernels from the hub.
            attn_implementation=attention_of(model, config),
            # A base that is quantized already was found to be so in the way that was asked for.
            quantization_config=None if getattr(config, "quantization_config", None) else quantization,
            device_map={"": place},
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, in a sentence
        )
    except OSError as error:
        raise _missing(model) from error
    base, found = loaded  # so it returns where it is asked what it found
    require_all(model, found["missing_keys"] | {name for name, *_shapes in found["mismatched_keys"]})
    return base


def settings_of(folder: Path, dtype: Any) -> Any:
    """Return the model's config; a base that is quantized already computes in ``dtype`` too."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    stored = getattr(config, "quantization_config", None)
    if stored:
        config.quantization_config = {**stored, "bnb_4bit_compute_dtype": str(dtype).removeprefix("torch.")}
    return config


def attention_of(model: ModelSpec, config: Any) -> str:
    """Return the attention that transformers is to use.

    Raises:
        BaseUnsuitedError: the model has no such one.
    """
    from medtune.data.base.architecture import attention_for

    found = attention_for(config, model.attn_implementation)
    if model.attn_implementation not in ("auto", found):
        problem = f"has no {model.attn_implementation} attention in transformers"
        raise BaseUnsuitedError("attention", model.path or model.name, problem, "set model.attn_implementation=auto")
    return found


def require_all(model: ModelSpec, lacking: Collection[str]) -> None:
    """Refuse a base of which the loader filled in anything: what no file holds would be random."""
    if lacking:
        problem = f"lacks {len(lacking)} tensors of its architecture, such as {min(lacking)}"
        instead = "get config.json and weights from the same place"
        raise BaseDamagedError("tensors", model.path or model.name, problem, instead)


def _missing(model: ModelSpec) -> Exception:
    place = f"model.path '{model.path}'" if model.path else f"model '{model.name}'"
    return SpecError(
        f"{place} holds no model that can be loaded; it needs config.json, the tokenizer files and *.safetensors weights"
    )


def _name_special_tokens(base: Any, tokenizer: Any) -> None:
    """Make model and tokenizer agree on pad and end, so that transformers has nothing to guess or to warn of."""
    for config in (base.config, base.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
    for sampling_only in ("temperature", "top_p", "top_k"):
        if hasattr(base.generation_config, sampling_only):
            setattr(base.generation_config, sampling_only, None)
    base.generation_config.do_sample = False
