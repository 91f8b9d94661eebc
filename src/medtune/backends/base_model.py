"""Loads a frozen base and its tokenizer through transformers, for every quantizer alike."""

from collections.abc import Callable
from typing import Any

from medtune.data.hub.models import loadable
from medtune.errors import SpecError
from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["load_base"]


def load_base(
    model: ModelSpec, spec: QuantSpec, place: str, quantization: Callable[[Any], Any] = lambda _dtype: None
) -> Loaded:
    """Load base and tokenizer; weights come from safetensors only, code only from transformers.

    Args:
        model: repository and commit, or a local folder.
        spec: storage scheme and compute type.
        place: torch device that the weights are loaded to.
        quantization: returns transformers' quantization config for a torch dtype, or None.

    Returns:
        The model in evaluation mode with every parameter frozen.

    Raises:
        SpecError: the folder or repository holds no model.
        HubError: the files are neither local nor given by the hub.
        CorruptDownloadError: a file is not what the hub states.
    """
    import torch

    from medtune.data.stop_ids import configured_ends, stop_ids
    from medtune.data.tokenizer import load_tokenizer
    from medtune.machine.hardware import compute_dtype, describe_machine

    dtype_name = compute_dtype(spec.compute_dtype, describe_machine().accelerator)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype_name]
    tokenizer = load_tokenizer(model)
    base = _read(model, place, dtype, quantization(dtype))
    base.requires_grad_(requires_grad=False)
    base.eval()
    _name_special_tokens(base, tokenizer)
    return Loaded(base, tokenizer, place, dtype_name, stop_ids(tokenizer, configured_ends(model)), spec.scheme)


def _read(model: ModelSpec, place: str, dtype: Any, quantization: Any) -> Any:
    from transformers import AutoModelForCausalLM

    folder = loadable(model)  # local from here on, whatever becomes of the hub
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(folder),
            dtype=dtype,
            # Named explicitly: a name in the config could otherwise load kernels from the hub.
            attn_implementation="eager" if model.attn_implementation == "eager" else "sdpa",
            quantization_config=quantization,
            device_map={"": place},
            trust_remote_code=False,
            use_safetensors=True,
        )
    except OSError as error:
        raise _missing(model) from error


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
