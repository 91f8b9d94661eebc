"""Loads the frozen base through transformers, quantized by bitsandbytes (or not at all)."""

from collections.abc import Sequence
from typing import Any

from medtune.errors import HubUnreachableError, SpecError, UnknownNameError
from medtune.libraries import quiet_libraries
from medtune.plugins.contracts import Loaded, Quantizer
from medtune.plugins.hookspecs import hookimpl
from medtune.specs import ModelSpec, QuantSpec

__all__ = ["BitsAndBytesQuantizer", "provide_quantizers"]

SCHEMES = ("nf4", "fp4", "int8", "none")


class BitsAndBytesQuantizer:
    """Frozen base in nf4, fp4, int8 or unquantized; weights come from safetensors only, code only from transformers."""

    name = "bitsandbytes"
    schemes = SCHEMES

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
        import torch
        from transformers import AutoModelForCausalLM

        from medtune.data.tokenizer import load_tokenizer
        from medtune.hardware import compute_dtype, describe_machine, local_device

        dtype_name = compute_dtype(spec.compute_dtype, describe_machine().accelerator)
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[dtype_name]
        device = local_device()
        tokenizer = load_tokenizer(model)
        try:
            base = AutoModelForCausalLM.from_pretrained(
                model.path or model.name,
                revision=None if model.path else model.revision,
                dtype=dtype,
                # Named explicitly: a name in the config could otherwise load kernels from the hub.
                attn_implementation="eager" if model.attn_implementation == "eager" else "sdpa",
                quantization_config=_quantization_config(spec, dtype),
                device_map={"": device},
                trust_remote_code=False,
                use_safetensors=True,
            )
        except OSError as error:
            raise _missing(model) from error
        base.requires_grad_(requires_grad=False)
        base.eval()
        _keep_differentiable(base)
        _name_special_tokens(base, tokenizer)
        return Loaded(base, tokenizer, device, dtype_name, _stop_ids(base, tokenizer), spec.scheme)


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


def _missing(model: ModelSpec) -> Exception:
    if model.path:
        return SpecError(
            f"model.path '{model.path}' holds no model that can be loaded; it needs config.json, the tokenizer files "
            "and *.safetensors weights"
        )
    return HubUnreachableError("model", model.name, "--set model.path=FOLDER")


def _name_special_tokens(base: Any, tokenizer: Any) -> None:
    """Make model and tokenizer agree on pad and end, so that transformers has nothing to guess or to warn of."""
    for config in (base.config, base.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
    for sampling_only in ("temperature", "top_p", "top_k"):
        if hasattr(base.generation_config, sampling_only):
            setattr(base.generation_config, sampling_only, None)
    base.generation_config.do_sample = False


def _stop_ids(base: Any, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that end an answer: the tokenizer's end, the model's, and a plain ``</s>`` where there is one."""
    found: list[int] = [tokenizer.eos_token_id]
    configured = base.generation_config.eos_token_id
    found += configured if isinstance(configured, list) else [configured]
    classic = tokenizer.get_vocab().get("</s>")
    return tuple(dict.fromkeys(i for i in [*found, classic] if i is not None))
