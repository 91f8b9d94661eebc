"""Axolotl's YAML."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from medtune.errors import SpecError
from medtune.specs.elsewhere.data_sets import COMPARE, axolotl_data, held_out
from medtune.specs.elsewhere.huggingface import FULL_TUNING, QUANTIZATION, targets
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
    changed,
    is_off,
    jointly,
    one_of,
    refused,
    same,
    unneeded,
)
from medtune.specs.elsewhere.together import finish_training
from medtune.specs.elsewhere.training import TRAINING

__all__ = ["AXOLOTL"]

_TEMPLATES = {"alpaca": "alpaca", "chatml": "chatml", "gemma": "gemma", "llama3": "llama-3", "phi_3": "phi"}


def _template(value: Any) -> Any:
    if str(value).startswith("tokenizer_default"):
        return ABSENT
    named = _TEMPLATES.get(str(value))
    return Outcome(
        CHANGED,
        f"medtune's template of that name; {COMPARE}"
        if named
        else "no template of that name is shipped; give its file",
        named or ABSENT,
    )


def _per_epoch(none: str) -> Callable[[Any], Any]:
    often = Outcome(CHANGED, "once at the end of each epoch", "epoch")
    return lambda value: none if not value else "epoch" if value == 1 else often


KEYS: dict[str, Meaning] = {
    **{
        name: meaning
        for name, meaning in {**TRAINING, **QUANTIZATION}.items()
        if not name.startswith(("dataset", "loss_", "max_s", "max_l", "num_t"))
    },
    "base_model": same("model.name"),
    "revision_of_model": same("model.revision"),
    "max_steps": jointly("train.max_steps"),
    "num_epochs": jointly("train.num_train_epochs"),
    "sequence_len": same("train.max_length"),
    "sample_packing": same("train.packing", "samples are isolated, which Axolotl does with flash attention", bool),
    "micro_batch_size": same("train.per_device_batch_size", "on one GPU; several divide the rows of an update"),
    "batch_size": changed("", "rows of an update are per_device_batch_size x gradient_accumulation_steps"),
    "optimizer": same("train.optim"),
    "lr_scheduler": jointly("train.lr_scheduler_type"),
    "cosine_min_lr_ratio": same("train.min_lr_rate"),
    "adapter": Meaning(SAME, "", "LoRA", one_of({"lora": ABSENT, "qlora": ABSENT}, FULL_TUNING)),
    "lora_r": same("lora.r"),
    "lora_alpha": same("lora.alpha"),
    "lora_dropout": same("lora.dropout"),
    "lora_target_modules": same("lora.target_modules", take=targets),
    "lora_target_linear": same("lora.target_modules", take=lambda value: "all-linear" if value else ABSENT),
    "peft_use_dora": same("lora.use_dora", take=bool),
    "peft_use_rslora": same("lora.use_rslora", take=bool),
    "peft_init_lora_weights": same(
        "lora.init",
        take=one_of(
            {True: "default", "gaussian": "gaussian", "pissa": "pissa", "olora": "olora"},
            "this initialisation is not offered",
        ),
    ),
    "train_on_inputs": Meaning(
        SAME,
        "",
        "loss on answers",
        lambda value: Outcome(REFUSED, "loss on the prompt is not offered") if value else ABSENT,
    ),
    "val_set_size": same("data.validation_fraction", "held out evenly by source", held_out),
    "datasets": jointly("data.source"),
    "test_datasets": jointly("data.validation"),
    "early_stopping_patience": same("eval.patience"),
    "evals_per_epoch": same("eval.every", "at the end of each epoch", _per_epoch("never")),
    "saves_per_epoch": same("train.save_strategy", "at the end of each epoch", _per_epoch("no")),
    "chat_template": same("model.chat_template", take=_template),
    "chat_template_jinja": changed("", "give the file that holds it as model.chat_template"),
    "default_system_message": same("data.system"),
    "excess_length_strategy": same(
        "data.overlong",
        "rows that are too long are dropped and counted",
        one_of({"drop": "drop", "raise": "error"}, "answers are never cut", CHANGED),
    ),
    "special_tokens": jointly("model.pad_token"),
    "bf16": jointly("train.precision"),
    "fp16": jointly("train.precision"),
    "wandb_project": same(
        "train.report_to", "Weights & Biases, offline first", lambda value: ["wandb"] if value else ABSENT
    ),
    "use_tensorboard": same("train.report_to", take=lambda value: ["tensorboard"] if value else ABSENT),
    "use_mlflow": same("train.report_to", take=lambda value: ["mlflow"] if value else ABSENT),
    **{
        name: refused(why)
        for name, why in {
            "lora_model_dir": "an adapter cannot be trained further; see medtune adopt",
            "lora_modules_to_save": "whole modules are not trained beside the adapter",
            "peft_layers_to_transform": "settings by layer are not offered",
            "peft": "LoftQ is said by lora.init=loftq",
            "loftq_config": "LoftQ is said by lora.init=loftq",
            "loraplus_lr_ratio": "two learning rates are not offered",
            "relora": "ReLoRA is not offered",
            "relora_steps": "ReLoRA is not offered",
            "unfrozen_parameters": FULL_TUNING,
            "tokens": "tokens are not added: the embedding is never resized",
            "noisy_embedding_alpha": "noise on embeddings is not offered",
            "gptq": "a base that GPTQ quantized cannot be trained on",
            "auto_find_batch_size": "train.on_oom=halve takes fewer rows at a time when memory runs out",
            "lr_groups": "one learning rate for all",
            "embedding_lr": "the embedding is not trained",
            "rope_scaling": "positions are as the base's config.json says",
            "overrides_of_model_config": "the base is as its config.json says",
            "sequence_parallel_degree": "a sample is not divided among GPUs",
            "context_parallel_size": "a sample is not divided among GPUs",
            "reward_model": "reward models are not trained",
            "pretraining_dataset": "only questions with answers are trained on",
        }.items()
    },
    **unneeded(
        "how it is computed, not what",
        *(
            "flash_attention",
            "sdp_attention",
            "xformers_attention",
            "flex_attention",
            "s2_attention",
            "eager_attention",
            "attn_implementation",
        ),
        *(
            "flash_attn_cross_entropy",
            "flash_attn_rms_norm",
            "flash_attn_fuse_qkv",
            "flash_attn_fuse_mlp",
            "flash_optimum",
        ),
        *(
            "lora_mlp_kernel",
            "lora_qkv_kernel",
            "lora_o_kernel",
            "unsloth_lora_mlp",
            "unsloth_lora_qkv",
            "unsloth_lora_o",
        ),
        *(
            "unsloth_cross_entropy_loss",
            "pad_to_sequence_len",
            "eval_sample_packing",
            "sample_packing_eff_est",
            "eval_batch_size",
        ),
        *(
            "liger_rope",
            "liger_rms_norm",
            "liger_glu_activation",
            "liger_layer_norm",
            "liger_fused_linear_cross_entropy",
        ),
        *(
            "liger_swiglu",
            "cut_cross_entropy",
            "max_memory",
            "gpu_memory_limit",
            "lora_on_cpu",
            "qlora_sharded_model_loading",
        ),
        *(
            "float16",
            "bfloat16",
            "dataset_processes",
            "dataset_num_proc",
            "lora_fan_in_fan_out",
            "sample_packing_bin_size",
            "batch_flattening",
        ),
    ),
    **unneeded(
        "known from the base, or of no effect on what is trained",
        *(
            "model_type",
            "tokenizer_type",
            "is_llama_derived_model",
            "is_mistral_derived_model",
            "is_qwen_derived_model",
        ),
        *(
            "is_falcon_derived_model",
            "tokenizer_use_fast",
            "tokenizer_legacy",
            "strict",
            "dataset_prepared_path",
            "hf_use_auth_token",
        ),
        *(
            "wandb_entity",
            "wandb_watch",
            "wandb_name",
            "wandb_run_id",
            "wandb_log_model",
            "wandb_mode",
            "mlflow_experiment_name",
        ),
        *(
            "mlflow_tracking_uri",
            "auto_resume_from_checkpoints",
            "save_first_step",
            "loss_watchdog_threshold",
            "loss_watchdog_patience",
        ),
        *(
            "eval_table_size",
            "eval_max_new_tokens",
            "shuffle_merged_datasets",
            "push_dataset_to_hub",
            "profiler_steps",
            "ddp",
        ),
    ),
    "plugins": Meaning(
        NOT_NEEDED, "", "integrations of kernels change no result; another one is not taken over", lambda _value: ABSENT
    ),
    "base_model_config": changed("", "config.json is the base's own"),
    "tokenizer_config": changed("", "the tokenizer is the base's own"),
    "remove_unused_columns": Meaning(NOT_NEEDED, "", "columns that nothing reads are named", lambda _value: ABSENT),
}


def _finish(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    if not is_off(given.get("rl")):
        raise SpecError(
            f"the configuration trains by preferences (rl: {given['rl']}), which is not offered; only supervised fine-tuning is"
        )
    renamed = {"lr_scheduler": "lr_scheduler_type", "num_epochs": "num_train_epochs"}
    named = {renamed.get(key, key): value for key, value in given.items()}
    named["lr_scheduler_type"] = str(named.get("lr_scheduler_type") or "cosine")
    named["bf16"] = named.get("bf16") not in (None, False, "auto") or named.get("bfloat16")  # "auto" is medtune's too
    named["fp16"] = bool(named.get("fp16") or named.get("float16")) and not named["bf16"]
    written = {new: old for old, new in renamed.items()}
    for found in finish_training(named, values):
        yield found._replace(key=written.get(found.key, found.key))
    if "adapter" not in given:
        yield Finding("(no adapter)", None, REFUSED, "lora", FULL_TUNING)
    if not given.get("load_in_4bit") and not given.get("load_in_8bit"):
        values["quant.scheme"] = "none"
    if is_off(given.get("warmup_ratio")) and given.get("warmup_steps") is None:
        values["train.warmup_ratio"] = 0.03
        yield Finding("(warm-up)", None, CHANGED, "train.warmup_ratio", "3 % there too, but of at most 100 updates")
    yield from _tokens(given.get("special_tokens"), values)
    yield from axolotl_data(given, values)


def _tokens(tokens: Any, values: dict[str, Any]) -> Iterator[Finding]:
    for name, token in cast("dict[str, Any]", tokens).items() if isinstance(tokens, dict) else ():
        if name == "pad_token":
            values["model.pad_token"] = token
        else:
            yield Finding(f"special_tokens.{name}", token, CHANGED, "", "the tokenizer's own is kept")


AXOLOTL = Program(
    "Axolotl",
    KEYS,
    marks=frozenset(
        {"base_model", "sequence_len", "micro_batch_size", "sample_packing", "num_epochs", "val_set_size", "datasets"}
    ),
    defaults={
        "train.per_device_batch_size": 1,
        "train.gradient_accumulation_steps": 1,
        "train.num_train_epochs": 1.0,
        "train.optim": "adamw_torch_fused",
        "train.packing": False,
        "train.max_length": 512,
        "lora.dropout": 0.0,
        "data.supervise": "all",
        "quant.double_quant": True,
    },
    notes=(("prompt", f"the model's own chat template, unless model.chat_template names one; {COMPARE}"),),
    finish=_finish,
)
