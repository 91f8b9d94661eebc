"""ms-swift's command lines and its args.json."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from medtune.errors import SpecError
from medtune.specs.elsewhere.data_sets import ms_swift_data
from medtune.specs.elsewhere.huggingface import ADAPTER, FULL_TUNING, QUANTIZATION, bits_stored
from medtune.specs.elsewhere.meanings import (
    ABSENT,
    CHANGED,
    SAME,
    Finding,
    Meaning,
    Outcome,
    Program,
    changed,
    is_off,
    jointly,
    one_of,
    refused,
    same,
    unneeded,
)
from medtune.specs.elsewhere.together import finish_training
from medtune.specs.elsewhere.training import TRAINING, TRAINING_DEFAULTS

__all__ = ["MS_SWIFT"]

_LENGTH, _UPDATE = 2048, 16
_LOSSES = {"default": "all", "last_round": "last"}


def _system(value: Any) -> Any:
    is_file = isinstance(value, str) and value.endswith(".txt")
    return Outcome(CHANGED, "write the text of that file into data.system") if is_file else value


KEYS: dict[str, Meaning] = {
    **TRAINING,
    **{
        name: QUANTIZATION[name]
        for name in ("bnb_4bit_compute_dtype", "bnb_4bit_use_double_quant", "torch_dtype", "bnb_4bit_quant_storage")
    },
    **{
        name: ADAPTER[name]
        for name in (
            "lora_rank",
            "lora_alpha",
            "lora_dropout",
            "target_modules",
            "use_rslora",
            "use_dora",
            "modules_to_save",
        )
    },
    "model": same("model.name", "from Hugging Face, not ModelScope"),
    "model_id_or_path": same("model.name", "from Hugging Face, not ModelScope"),
    "model_revision": same("model.revision", take=lambda value: ABSENT if value in ("main", "master", None) else value),
    "lora_bias": same("lora.bias"),
    "init_weights": same(
        "lora.init",
        take=one_of(
            {
                "true": "default",
                True: "default",
                "gaussian": "gaussian",
                "pissa": "pissa",
                "olora": "olora",
                "loftq": "loftq",
            },
            "this initialisation is not offered",
        ),
    ),
    **{
        name: Meaning(SAME, "", "LoRA", one_of({"lora": ABSENT}, FULL_TUNING))
        for name in ("train_type", "tuner_type", "sft_type")
    },
    "quant_method": Meaning(
        SAME,
        "",
        "bitsandbytes",
        one_of({"bnb": ABSENT, None: ABSENT}, "bases are quantized by bitsandbytes, or in fp8"),
    ),
    "quant_bits": jointly("quant.scheme"),
    "bnb_4bit_quant_type": jointly("quant.scheme"),
    "max_length": same("train.max_length", "a row that is too long is dropped, there too"),
    "truncation_strategy": same(
        "data.overlong",
        "a row that is too long is dropped, there too",
        one_of({"delete": "drop", None: "drop"}, "answers are never cut", CHANGED),
    ),
    "dataset": jointly("data.source"),
    "val_dataset": jointly("data.validation"),
    "split_dataset_ratio": same(
        "data.validation_fraction",
        "held out evenly by source",
        lambda value: float(value) if value else Outcome(CHANGED, "some rows are held out in any case, to score on"),
    ),
    "system": same("data.system", take=_system),
    "template": changed(
        "", "the model's own chat template, unless model.chat_template names one; compare by medtune preview --against"
    ),
    "loss_scale": same(
        "data.supervise", "loss on every answer, or the last", one_of(_LOSSES, "every supervised token counts the same")
    ),
    "streaming": same("data.streaming", take=bool),
    "columns": changed("", "columns are found, or mapped by data.columns"),
    "custom_dataset_info": changed("", "put files or repositories in the place of names"),
    "task_type": Meaning(
        SAME,
        "",
        "a causal language model",
        one_of({"causal_lm": ABSENT, None: ABSENT}, "only causal language models are trained"),
    ),
    "attn_impl": Meaning(SAME, "", "sdpa computes the same up to rounding", lambda _value: ABSENT),
    "use_hf": Meaning(
        SAME,
        "",
        "Hugging Face",
        lambda value: ABSENT if value else Outcome(CHANGED, "repositories are those of Hugging Face"),
    ),
    "enable_thinking": changed(
        "model.template_options",
        "handed to the chat template",
        lambda value: ABSENT if value is None else {"enable_thinking": value},
    ),
    "early_stop_interval": same("eval.patience"),
    **{
        name: refused(why)
        for name, why in {
            "adapters": "an adapter cannot be trained further; see medtune adopt",
            "lorap_lr_ratio": "two learning rates are not offered",
            "target_regex": "layers are named by the ends of their names, not by a pattern",
            "target_parameters": "layers are named by the ends of their names",
            "trainable_parameters": "whole modules are not trained beside the adapter",
            "optimizer": "further optimizers are not offered",
            "loss_type": "the loss is cross-entropy",
            "use_galore": "optimizers that project gradients are not offered",
            "enable_dft_loss": "the loss is cross-entropy",
            "new_special_tokens": "tokens are not added",
            "rope_scaling": "positions are as the base's config.json says",
            "sequence_parallel_size": "a sample is not divided among GPUs",
            "agent_template": "tools are what the chat template makes of them",
            "interleave_prob": "sources are mixed by their weights (data.mix)",
            "external_plugins": "its plugins are not medtune's",
        }.items()
        if name != "sequence_parallel_size"
    },
    "sequence_parallel_size": Meaning(
        SAME,
        "",
        "a sample is not divided",
        one_of({1: ABSENT, None: ABSENT}, "a sample is not divided among GPUs", CHANGED),
    ),
    **unneeded(
        "of no effect on what is trained, or chosen by memory and hardware",
        *(
            "add_version",
            "create_checkpoint_symlink",
            "check_model",
            "load_args",
            "local_repo_path",
            "model_type",
            "task",
        ),
        *(
            "lazy_tokenize",
            "load_from_cache_file",
            "dataset_shuffle",
            "val_dataset_shuffle",
            "shuffle_buffer_size",
            "strict",
        ),
        *(
            "model_author",
            "model_name",
            "download_mode",
            "packing_cache",
            "packing_length",
            "packing_num_proc",
            "device_map",
        ),
        *(
            "freeze_llm",
            "freeze_vit",
            "freeze_aligner",
            "vit_gradient_checkpointing",
            "max_pixels",
            "lora_dtype",
            "acc_strategy",
        ),
        *(
            "use_logits_to_keep",
            "max_new_tokens",
            "temperature",
            "predict_with_generate",
            "eval_use_evalscope",
            "padding_side",
        ),
        *(
            "swanlab_token",
            "swanlab_project",
            "swanlab_mode",
            "swanlab_exp_name",
            "max_memory",
            "ddp_timeout",
            "use_flash_ckpt",
        ),
        *(
            "tuner_backend",
            "stopping_strategy",
            "norm_bbox",
            "response_prefix",
            "template_backend",
            "use_chat_template",
            "metric",
        ),
    ),
}


def _finish(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    if not is_off(given.get("rlhf_type")):
        raise SpecError(
            f"the configuration trains by preferences (rlhf_type: {given['rlhf_type']}), which is not offered; only supervised fine-tuning is"
        )
    yield from finish_training({"lr_scheduler_type": "cosine", "eval_steps": None, **given}, values)
    bits = given.get("quant_bits")
    values["quant.scheme"] = bits_stored(bits, given.get("bnb_4bit_quant_type"))
    if "train.gradient_accumulation_steps" not in values:
        values["train.gradient_accumulation_steps"] = math.ceil(
            _UPDATE / int(values.get("train.per_device_batch_size", 1))
        )
    if values.get("train.max_length") is None:
        values["train.max_length"] = _LENGTH
        yield Finding(
            "(longest sample)",
            None,
            CHANGED,
            "train.max_length",
            "as many tokens as the base takes, there; set what your rows need (medtune preview)",
        )
    if {"train_type", "tuner_type", "sft_type"}.isdisjoint(given):
        yield Finding("(tuner)", None, SAME, "lora", "LoRA is the default there too")
    yield from ms_swift_data(given, values)


MS_SWIFT = Program(
    "ms-swift",
    KEYS,
    marks=frozenset(
        {
            "train_type",
            "tuner_type",
            "sft_type",
            "torch_dtype",
            "quant_bits",
            "split_dataset_ratio",
            "loss_scale",
            "attn_impl",
            "val_dataset",
        }
    ),
    defaults={
        **{
            name: value
            for name, value in TRAINING_DEFAULTS.items()
            if not name.endswith(("gradient_accumulation_steps", "lr_scheduler_type"))
        },
        "train.per_device_batch_size": 1,
        "train.learning_rate": 1e-4,
        "train.weight_decay": 0.1,
        "train.adam_beta2": 0.95,
        "train.logging_steps": 5,
        "lora.alpha": 32,
        "quant.double_quant": True,
        "data.supervise": "all",
    },
    notes=(
        (
            "prompt",
            "the model's own chat template; ms-swift has its own of each family; compare by medtune preview --against",
        ),
    ),
    finish=_finish,
)
