"""Loads the frozen base through transformers, quantized by bitsandbytes (or not at all)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from medtune.backends.base_model import load_base
from medtune.errors import UnknownNameError
from medtune.machine.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded, Quantizer
from medtune.plugins.contracts.exporting import StoredAs
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.origin import told_of
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["BitsAndBytesQuantizer", "provide_quantizers"]

SCHEMES = ("nf4", "fp4", "int8", "none")


class BitsAndBytesQuantizer:
    """Frozen base in nf4, fp4, int8 or unquantized; weights come from safetensors only, code only from transformers."""

    name = "bitsandbytes"
    schemes = SCHEMES

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("bitsandbytes", schemes=list(SCHEMES))

    @quiet_libraries()
    def load(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Load base and tokenizer onto this process's device.

        Args:
            model: repository and commit, or a local folder.
            spec: storage scheme and compute type.

        Returns:
            The model in evaluation mode with every parameter frozen.

        Raises:
            UnknownNameError: ``spec.scheme`` is not one of nf4, fp4, int8, none.
            HubUnreachableError: the files are neither local nor reachable.
        """
        if spec.scheme not in SCHEMES:
            raise UnknownNameError(f"scheme of quantizer '{self.name}'", spec.scheme, SCHEMES)
        from medtune.machine.hardware import local_device

        loaded = load_base(model, spec, local_device(), partial(_quantization_config, spec))
        _keep_differentiable(loaded.model)
        return loaded

    def load_sharded(self, model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Load an unquantized base whose layers are sharded over all processes, which must call it together.

        Raises:
            UnknownNameError: ``spec.scheme`` is not none: quantized weights would lose their scales.
        """
        if spec.scheme != "none":
            raise UnknownNameError(f"scheme that quantizer '{self.name}' can shard", spec.scheme, ("none",))
        from medtune.backends.sharded.loading import load_sharded_base

        return load_sharded_base(model, spec)

    def stored_as(self, model: ModelSpec, spec: QuantSpec) -> StoredAs | None:
        """Return what ``load`` makes of a weight; None where it is kept as it is."""
        from medtune.backends.stored_values import stored_in_bits

        if spec.scheme == "none":
            return None
        return stored_in_bits(model, spec, lambda dtype: _quantization_config(spec, dtype))

    def load_random(self, config: Mapping[str, Any], model: ModelSpec, spec: QuantSpec) -> Loaded:
        """Make a base of a config.json's shape with random weights, stored as ``load`` stores it."""
        from medtune.backends.random_base import random_base

        return random_base(config, model, spec)


@hookimpl
def provide_quantizers() -> Sequence[Quantizer]:
    """Provide ``bitsandbytes``."""
    return [BitsAndBytesQuantizer()]


def _quantization_config(spec: QuantSpec, dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    if spec.scheme == "none":
        return None
    if spec.scheme == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.scheme,
        bnb_4bit_use_double_quant=spec.double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def _keep_differentiable(base: Any) -> None:
    """Switch off the repacking of 4-bit weights for inference on CPUs with AVX512-BF16.

    bitsandbytes 0.50 repacks them at the first forward pass in evaluation mode. From then on products are in bf16 and
    have no gradient, so training after scoring would silently learn nothing.
    """
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
