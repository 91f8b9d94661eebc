"""What a storage scheme makes of the base's weights, tensor by tensor, to the bit as a loaded base computes with them."""

from collections.abc import Callable
from typing import Any

from medtune.data.base.folder import BaseFolder
from medtune.data.hub.models import loadable
from medtune.errors import SpecError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts.exporting import StoredAs
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["stored_in_bits", "stored_in_fp8"]


def stored_in_bits(model: ModelSpec, spec: QuantSpec, quantization: Callable[[Any], Any]) -> StoredAs:
    """Return what bitsandbytes makes of weights under ``quantization``, which returns transformers' config for a type."""
    from transformers.quantizers.auto import AutoHfQuantizer

    empty, dtype, device = _empty(model, spec)
    with quiet_libraries():
        quantizer: Any = AutoHfQuantizer.from_config(quantization(dtype), pre_quantized=False)
        quantizer.preprocess_model(model=empty, device_map={"": device}, dtype=dtype)
    names = {f"{name}.weight" for name, module in empty.named_modules() if type(module).__name__ in _ROUNDED}
    rounded = _eight_bits if spec.scheme == "int8" else _four_bits(spec)
    return _applied(model, names, lambda value: rounded(value.to(dtype), device))


def stored_in_fp8(model: ModelSpec, spec: QuantSpec) -> StoredAs:
    """Return what fp8 with one scale per output makes of weights."""
    import torch

    from medtune.accel.train.fp8_linear import Fp8Linear

    empty, dtype, device = _empty(model, spec)
    head = empty.get_output_embeddings()
    names = {
        f"{name}.weight" for name, module in empty.named_modules() if module is not head and Fp8Linear.suits(module)
    }

    def rounded(value: Any) -> Any:
        layer = torch.nn.Linear(value.shape[1], value.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(value.to(dtype), requires_grad=False)
        return Fp8Linear(layer, device).dequantized(dtype).cpu()

    return _applied(model, names, rounded)


_ROUNDED = ("Linear4bit", "Linear8bitLt")


def _empty(model: ModelSpec, spec: QuantSpec) -> tuple[Any, Any, str]:
    """Return the model without values, the type that it computes in, and the device that it is stored on."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from medtune.machine.hardware import compute_dtype, describe_machine, local_device

    name = compute_dtype(spec.compute_dtype, describe_machine().accelerator)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
    config: Any = AutoConfig.from_pretrained(str(loadable(model)), trust_remote_code=False)
    with torch.device("meta"):
        empty: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    empty.tie_weights()
    return empty, dtype, local_device()


def _four_bits(spec: QuantSpec) -> Callable[[Any, str], Any]:
    import bitsandbytes as library

    bitsandbytes: Any = library

    def rounded(value: Any, device: str) -> Any:
        # the arguments of transformers' own loading
        stored = bitsandbytes.nn.Params4bit(
            value.contiguous(), requires_grad=False, quant_type=spec.scheme, compress_statistics=spec.double_quant
        ).to(device)
        return bitsandbytes.functional.dequantize_4bit(stored.data, stored.quant_state).cpu()

    return rounded


def _eight_bits(value: Any, device: str) -> Any:
    import bitsandbytes as library

    bitsandbytes: Any = library
    stored = bitsandbytes.nn.Int8Params(value.contiguous(), requires_grad=False, has_fp16_weights=False).to(device)
    # in the order of the layer's own backward; its forward rounds what goes in too, so that no weight says all of it
    return stored.CB.to(value.dtype).mul_(stored.SCB.unsqueeze(1).mul(1.0 / 127.0)).cpu()


def _applied(model: ModelSpec, names: set[str], rounded: Callable[[Any], Any]) -> StoredAs:
    lacking = sorted(names - BaseFolder(loadable(model)).tensors.keys())
    if lacking:
        raise SpecError(
            f"the base stores '{lacking[0]}' under another name, so what rounding makes of it cannot be followed; use "
            "source=original"
        )

    def stored_as(name: str, value: Any) -> Any:
        return rounded(value) if name in names else value

    return stored_as
