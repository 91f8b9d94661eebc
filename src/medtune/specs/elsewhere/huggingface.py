"""The arguments of PEFT, bitsandbytes and TRL's command line, which other programs take under the same names."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.specs.elsewhere.meanings import (
    ABSENT,
    CHANGED,
    NOT_NEEDED,
    REFUSED,
    SAME,
    Finding,
    Meaning,
    Outcome,
    Program,
    is_off,
    jointly,
    one_of,
    refused,
    same,
    unneeded,
)
from medtune.specs.elsewhere.together import finish_training
from medtune.specs.elsewhere.training import CUT, SCRIPT, TRAINING, TRAINING_DEFAULTS

__all__ = ["ADAPTER", "FULL_TUNING", "QUANTIZATION", "TRL", "bits_stored", "targets"]

FULL_TUNING = "only adapters are trained: full fine-tuning is not offered"
PEFT_DEFAULT = ["q_proj", "v_proj"]
_DTYPES: dict[Any, str] = {
    "auto": "auto",
    **dict.fromkeys(("bf16", "bfloat16", "torch.bfloat16"), "bf16"),
    **dict.fromkeys(("fp16", "float16", "half", "torch.float16"), "fp16"),
    **dict.fromkeys(("fp32", "float32", "float", "torch.float32"), "fp32"),
}
_NAMED_INITS = ("gaussian", "pissa", "olora", "loftq", "orthogonal")
_INITS: dict[Any, str] = {
    True: "default",
    "true": "default",
    "default": "default",
    **dict(zip(_NAMED_INITS, _NAMED_INITS, strict=True)),
}


def targets(value: Any) -> Any:
    """Take the names of layers, or the word for all of them."""
    if value in ("all-linear", "all", "all_linear", ["all-linear"], ["all"]):
        return "all-linear"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    if isinstance(value, str) and value.replace("_", "").replace(",", "").replace(" ", "").isalnum():
        return [each for each in value.replace(",", " ").split() if each]
    return Outcome(REFUSED, "layers are named by the ends of their names, not by a pattern")


def bits_stored(bits: Any, kind: Any) -> str:
    """Return the scheme of a base in so many bits, of a kind where there are 4."""
    return {4: str(kind or "nf4"), 8: "int8"}.get(0 if is_off(bits) else int(bits), "none")


def _attention(value: Any) -> Any:
    if value in ("sdpa", "eager"):
        return value
    return Outcome(NOT_NEEDED, "sdpa computes the same up to rounding, and isolates packed samples")


ADAPTER: dict[str, Meaning] = {
    **{name: same("lora.r") for name in ("r", "lora_r", "lora_rank")},
    "lora_alpha": same("lora.alpha"),
    "lora_dropout": same("lora.dropout"),
    **{name: same("lora.bias") for name in ("bias",)},
    **{name: same("lora.target_modules", take=targets) for name in ("target_modules", "lora_target_modules")},
    "use_rslora": same("lora.use_rslora", take=bool),
    "use_dora": same("lora.use_dora", take=bool),
    "init_lora_weights": same("lora.init", take=one_of(_INITS, "this initialisation is not offered")),
    **{
        name: refused("whole modules are not trained beside the adapter")
        for name in ("modules_to_save", "lora_modules_to_save")
    },
    **{
        name: Meaning(
            SAME,
            "",
            "a causal language model",
            one_of({"CAUSAL_LM": ABSENT, None: ABSENT}, "only causal language models are trained"),
        )
        for name in ("task_type", "lora_task_type")
    },
    "use_peft": Meaning(
        SAME, "", "an adapter is trained", lambda value: ABSENT if value else Outcome(REFUSED, FULL_TUNING)
    ),
    "peft_type": Meaning(
        SAME, "", "LoRA", one_of({"LORA": ABSENT, None: ABSENT}, "of PEFT's methods only LoRA is offered")
    ),
    **unneeded(
        "says how an adapter is loaded, not how it is trained",
        *("auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "runtime_config"),
        *("megatron_config", "megatron_core", "fan_in_fan_out", "qalora_group_size", "ensure_weight_tying"),
    ),
    **{
        name: refused("settings by layer, and variants of LoRA beside rsLoRA and DoRA, are not offered")
        for name in (
            *("exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "lora_bias"),
            *(
                "trainable_token_indices",
                "loftq_config",
                "eva_config",
                "corda_config",
                "lora_ga_config",
                "velora_config",
            ),
            *("alora_invocation_tokens", "use_qalora", "monteclora_config", "layer_replication", "target_parameters"),
            *("use_bdlora", "arrow_config", "kasa_config", "lora_target_parameters", "loraplus_lr_ratio"),
        )
    },
}
"""Arguments of PEFT's LoraConfig, and those of TRL's ModelConfig that go there."""

QUANTIZATION: dict[str, Meaning] = {
    "load_in_4bit": jointly("quant.scheme"),
    "load_in_8bit": jointly("quant.scheme"),
    "bnb_4bit_quant_type": jointly("quant.scheme"),
    "bnb_4bit_use_double_quant": same("quant.double_quant", take=bool),
    "use_bnb_nested_quant": same("quant.double_quant", take=bool),
    **{
        name: same("quant.compute_dtype", take=one_of(_DTYPES, "this type is not offered"))
        for name in ("bnb_4bit_compute_dtype", "dtype", "torch_dtype")
    },
    **unneeded("how it is stored in between", "bnb_4bit_quant_storage", "llm_int8_has_fp16_weight"),
    **{
        name: refused("8-bit storage is bitsandbytes' default one")
        for name in ("llm_int8_skip_modules", "llm_int8_enable_fp32_cpu_offload")
    },
    "llm_int8_threshold": Meaning(
        SAME, "", "the default", one_of({6.0: ABSENT, None: ABSENT}, "bitsandbytes' default is taken", CHANGED)
    ),
}
"""Arguments of transformers' BitsAndBytesConfig, and the types of the base's products."""

_MODEL: dict[str, Meaning] = {
    "model_name_or_path": same("model.name"),
    "model_revision": same("model.revision", take=lambda value: ABSENT if value == "main" else value),
    "attn_implementation": same("model.attn_implementation", take=_attention),
}
_DATA: dict[str, Meaning] = {
    "dataset_name": same("data.source"),
    "dataset_config": same("data.subset"),
    "dataset_train_split": same("data.split"),
    "dataset_test_split": jointly("data.validation"),
    "dataset_streaming": same("data.streaming", take=bool),
    "ignore_bias_buffers": Meaning(NOT_NEEDED, "", "of no model that is trained here", lambda _value: ABSENT),
}


def _finish_trl(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    calls = given.get("(calls)", ())
    own_kind = "fp4" if "BitsAndBytesConfig" in calls else "nf4"  # the class has another default than TRL's command
    yield from finish_training({"bnb_4bit_quant_type": own_kind, **given}, values)
    is_adapter = given.get("use_peft") or "LoraConfig" in calls
    if "use_peft" not in given and not is_adapter and given.keys().isdisjoint({"r", "lora_r", "lora_alpha"}):
        yield Finding("(no adapter)", None, REFUSED, "lora", FULL_TUNING)
    if not given.get("load_in_4bit") and not given.get("load_in_8bit"):
        values["quant.scheme"] = "none"
    if given.keys().isdisjoint({"dtype", "torch_dtype", "bnb_4bit_compute_dtype"}):
        why = "TRL loads the base in float32 where nothing is said; here in bf16 where the GPU has it"
        yield Finding("(dtype)", None, CHANGED, "quant.compute_dtype", why)
    if "LoraConfig" in calls:
        own = {"lora.r": 8, "lora.alpha": 8, "lora.dropout": 0.0}
        for name in own.keys() - values.keys():
            values[name] = own[name]
    if "lora.target_modules" not in values:
        values["lora.target_modules"] = PEFT_DEFAULT
        why = "PEFT's choice for Llama, Mistral and Qwen; it has others for some families"
        yield Finding("(targets)", None, CHANGED, "lora.target_modules", why)


TRL = Program(
    "TRL",
    {**TRAINING, **SCRIPT, **ADAPTER, **QUANTIZATION, **_MODEL, **_DATA},
    marks=frozenset(
        {
            "use_peft",
            "dataset_text_field",
            "assistant_only_loss",
            "completion_only_loss",
            "dataset_train_split",
            "lora_r",
        }
    ),
    defaults={
        **TRAINING_DEFAULTS,
        "train.learning_rate": 2e-5,
        "train.max_length": 1024,
        "lora.r": 16,
        "lora.alpha": 32,
        "quant.double_quant": False,
    },
    notes=(
        (
            "loss",
            "on answers only; of rows of one text, and of conversations without assistant_only_loss, TRL trains on the prompt too",
        ),
        (
            "prompt",
            "the model's own chat template, unless model.chat_template names one; TRL trains a column of text as it is",
        ),
        ("length", CUT),
    ),
    finish=_finish_trl,
)
