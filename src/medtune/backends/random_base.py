"""A base of a given shape with random weights, stored as a spec says, to measure speed and memory without downloads.

Imported inside functions only: it loads torch and transformers.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from medtune.backends.angles import compute_angles
from medtune.data.base.architecture import attention_for
from medtune.data.stop_ids import as_ids, stop_ids
from medtune.errors import SpecError, UnknownNameError
from medtune.machine.hardware import compute_dtype, describe_machine, local_device
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["random_base"]

_SPREAD = 0.02
_PAD, _END = 0, 1
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@quiet_libraries()
def random_base(config: Mapping[str, Any], model: ModelSpec, spec: QuantSpec) -> Loaded:
    """Build the base on this process's device, layer by layer, so that it takes little more than it takes when loaded.

    Args:
        config: the model's config.json.
        model: says which attention.
        spec: storage, with a scheme other than "auto".

    Raises:
        UnknownNameError: the scheme is not one of nf4, fp4, int8, fp8, none.
        SpecError: transformers knows no such model.
    """
    store = _storing(spec)
    device, dtype_name = local_device(), compute_dtype(spec.compute_dtype, describe_machine().accelerator)
    dtype = _DTYPES[dtype_name]
    values = {name: value for name, value in config.items() if name not in ("auto_map", "quantization_config")}
    try:
        settings = AutoConfig.for_model(str(values.pop("model_type", "")), **values)
    except ValueError as error:
        raise SpecError("transformers knows no model of the type that config.json names") from error
    attention = attention_for(settings, model.attn_implementation)
    with torch.device("meta"):
        base: Any = AutoModelForCausalLM.from_config(settings, dtype=dtype, attn_implementation=attention)
    _materialize(base, device, store, dtype)
    base.is_loaded_in_4bit = spec.scheme in ("nf4", "fp4")
    base.is_loaded_in_8bit = spec.scheme == "int8"
    base.requires_grad_(requires_grad=False)
    base.eval()
    tokenizer = _tokenizer()
    ends = stop_ids(tokenizer, as_ids(settings.get_text_config().eos_token_id))
    return Loaded(base, tokenizer, device, dtype_name, ends, spec.scheme)


def _materialize(base: Any, device: str, store: Callable[[nn.Linear], nn.Module], dtype: torch.dtype) -> None:
    """Give every part of a model on meta random values; linear layers but the head are stored at once."""
    compute_angles(base, device)  # not drawn
    head = base.get_output_embeddings()
    for parent in list(base.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not head:
                setattr(parent, name, store(_drawn(child, device, dtype)))
    for module in base.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                values = torch.empty(parameter.shape, dtype=dtype, device=device)
                values = values.fill_(1.0) if parameter.ndim == 1 else values.normal_(std=_SPREAD)
                module.register_parameter(name, nn.Parameter(values, requires_grad=False))
    base.tie_weights()


def _drawn(linear: nn.Linear, device: str, dtype: torch.dtype) -> nn.Linear:
    """Return the layer with random values on the device."""
    bias: Any = linear.bias  # torch declares it as always there
    real = nn.Linear(linear.in_features, linear.out_features, bias is not None, device="meta", dtype=dtype)
    real.to_empty(device=device)
    for parameter in real.parameters():
        parameter.requires_grad_(False)
        parameter.normal_(std=_SPREAD)
    return real


def _storing(spec: QuantSpec) -> Callable[[nn.Linear], nn.Module]:
    if spec.scheme == "none":
        return lambda linear: linear
    if spec.scheme in ("nf4", "fp4"):
        return lambda linear: _four_bit(linear, spec)
    if spec.scheme == "int8":
        return _eight_bit
    if spec.scheme == "fp8":
        from medtune.accel.train.fp8_linear import Fp8Linear

        return lambda linear: Fp8Linear(linear) if Fp8Linear.suits(linear) else linear
    raise UnknownNameError("scheme of a random base", spec.scheme, ("nf4", "fp4", "int8", "fp8", "none"))


def _four_bit(linear: nn.Linear, spec: QuantSpec) -> Any:
    """Return the layer in 4 bits, as bitsandbytes would load it."""
    bnb: Any = import_module("bitsandbytes.nn")  # its types are not those that it takes
    stored: Any = bnb.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=linear.weight.dtype, device="meta"
    )
    stored.support_avx512bf16_for_cpu = False
    weight: Any = bnb.Params4bit(
        linear.weight.data,
        requires_grad=False,
        quant_type=spec.scheme,
        compress_statistics=spec.double_quant,
        module=stored,
    )
    stored.weight = weight.to(linear.weight.device)
    stored.bias = linear.bias
    return stored


def _eight_bit(linear: nn.Linear) -> Any:
    bnb: Any = import_module("bitsandbytes.nn")
    stored: Any = bnb.Linear8bitLt(
        linear.in_features, linear.out_features, bias=False, has_fp16_weights=False, device="meta"
    )
    weight: Any = bnb.Int8Params(linear.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
    stored.weight = weight.to(linear.weight.device)
    stored.bias = linear.bias
    return stored


def _tokenizer() -> Any:
    """Return a tokenizer that knows padding and end, since ids come ready."""
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"<pad>": _PAD, "<end>": _END}, unk_token="<end>"))  # noqa: S106
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",  # noqa: S106 - a token of text
        eos_token="<end>",  # noqa: S106 - as above
        unk_token="<end>",  # noqa: S106 - as above
    )
