"""The keyword arguments of unsloth's scripts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from medtune.specs.elsewhere.huggingface import ADAPTER, FULL_TUNING, QUANTIZATION
from medtune.specs.elsewhere.meanings import (
    REFUSED,
    Finding,
    Meaning,
    Outcome,
    Program,
    changed,
    refused,
    same,
    unneeded,
)
from medtune.specs.elsewhere.together import finish_training
from medtune.specs.elsewhere.training import CUT, SCRIPT, TRAINING, TRAINING_DEFAULTS

__all__ = ["UNSLOTH", "UNSLOTH_PLAIN"]

_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

KEYS: dict[str, Meaning] = {
    **TRAINING,
    **ADAPTER,
    **QUANTIZATION,
    "model_name": same("model.name"),
    "full_finetuning": Meaning(
        REFUSED,
        "",
        FULL_TUNING,
        lambda value: Outcome("same", "an adapter is trained") if not value else Outcome(REFUSED, FULL_TUNING),
    ),
    "random_state": changed("", "one seed says everything: seed"),
    "use_gradient_checkpointing": Meaning(
        "not needed",
        "",
        "chosen by memory; the same numbers",
        lambda _value: Outcome("not needed", "chosen by memory; the same numbers"),
    ),
    **SCRIPT,
    "chat_template": changed(
        "", "the model's own chat template, unless model.chat_template names one; compare by medtune preview --against"
    ),
    "embedding_learning_rate": refused("the embedding is not trained"),
    **{name: refused("whole modules are not trained beside the adapter") for name in ("finetune_vision_layers",)},
    **unneeded(
        "of no effect on what is trained",
        *("load_in_16bit",),
        *(
            "fast_inference",
            "gpu_memory_utilization",
            "max_lora_rank",
            "float8_kv_cache",
            "use_exact_model_name",
            "fix_tokenizer",
        ),
        *(
            "finetune_language_layers",
            "finetune_attention_modules",
            "finetune_mlp_modules",
            "unsloth_tiled_mlp",
            "offload_embedding",
        ),
        *("unsloth_num_chunks", "unsloth_logit_chunk_multiplier"),
    ),
    "rope_scaling": refused("positions are as the base's config.json says"),
}


def _finish(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    yield from finish_training(
        {**given, "load_in_4bit": given.get("load_in_4bit", not given.get("load_in_8bit"))}, values
    )
    if given.get("load_in_4bit") is False and not given.get("load_in_8bit"):
        values["quant.scheme"] = "none"


UNSLOTH = Program(
    "unsloth",
    KEYS,
    marks=frozenset(
        {
            "use_gradient_checkpointing",
            "random_state",
            "full_finetuning",
            "fast_inference",
            "max_lora_rank",
            "model_name",
        }
    ),
    defaults={
        **TRAINING_DEFAULTS,
        "train.per_device_batch_size": 4,
        "train.gradient_accumulation_steps": 2,
        "train.weight_decay": 0.01,
        "train.warmup_ratio": 0.1,
        "train.optim": "adamw_8bit",
        "train.max_length": 2048,
        "train.logging_steps": 1,
        "seed": 3407,
        "lora.r": 16,
        "lora.alpha": 16,
        "lora.dropout": 0.0,
        "lora.target_modules": _LAYERS,
        "quant.double_quant": True,
    },
    notes=(
        ("loss", "on answers only; unsloth trains on the prompt too, unless train_on_responses_only is called"),
        (
            "prompt",
            "the model's own chat template, unless model.chat_template names one; compare by medtune preview --against",
        ),
        ("length", CUT),
    ),
    finish=_finish,
)
UNSLOTH_PLAIN = replace(
    UNSLOTH,
    defaults={
        **UNSLOTH.defaults,
        **TRAINING_DEFAULTS,
        "train.weight_decay": 0.0,
        "train.logging_steps": 500,
        "seed": 42,
    },
)
"""With transformers' TrainingArguments in the place of SFTConfig, whose defaults unsloth leaves as they are."""
