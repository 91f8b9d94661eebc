"""The arguments of transformers' TrainingArguments and TRL's SFTConfig, which other programs take under the same names."""

from typing import Any

from medtune.specs.elsewhere.meanings import (
    ABSENT,
    CHANGED,
    NOT_NEEDED,
    REFUSED,
    SAME,
    Meaning,
    Outcome,
    changed,
    is_off,
    jointly,
    one_of,
    refused,
    same,
    unneeded,
)

__all__ = ["CUT", "SCRIPT", "TRAINING", "TRAINING_DEFAULTS"]

CUT = "a row that is too long is dropped and counted, never cut (data.overlong)"
_TRACKERS = ("tensorboard", "mlflow", "trackio", "wandb")


def _trackers(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value or ())
    names = [name for name in names if not is_off(name)]
    unknown = [name for name in names if name not in _TRACKERS]
    return Outcome(CHANGED, f"of these only {', '.join(_TRACKERS)} are known") if unknown else names


TRAINING: dict[str, Meaning] = {
    "per_device_train_batch_size": same(
        "train.per_device_batch_size", "on one GPU; several divide the rows of an update"
    ),
    "gradient_accumulation_steps": same("train.gradient_accumulation_steps", "on one GPU; times their number there"),
    "learning_rate": same("train.learning_rate"),
    "lr_scheduler_type": jointly("train.lr_scheduler_type"),
    "lr_scheduler_kwargs": jointly("train.min_lr_rate"),
    "warmup_ratio": jointly("train.warmup_ratio"),
    "warmup_steps": jointly("train.warmup_steps"),
    "optim": same("train.optim"),
    "weight_decay": same("train.weight_decay"),
    "adam_beta1": same("train.adam_beta1"),
    "adam_beta2": same("train.adam_beta2"),
    "adam_epsilon": same("train.adam_epsilon"),
    "max_grad_norm": same(
        "train.max_grad_norm",
        take=lambda value: value or Outcome(CHANGED, "gradients are clipped; set a large norm for none"),
    ),
    "num_train_epochs": jointly("train.num_train_epochs"),
    "max_steps": jointly("train.max_steps"),
    "max_length": same(
        "train.max_length", take=lambda value: value or Outcome(CHANGED, "a longest sample is needed here")
    ),
    "max_seq_length": same("train.max_length"),
    "packing": same("train.packing", take=bool),
    "packing_strategy": Meaning(
        SAME,
        "",
        "best fit, each sample isolated",
        one_of({"bfd": ABSENT}, "samples are never wrapped or cut to fill rows", CHANGED),
    ),
    "logging_steps": same("train.logging_steps"),
    "save_strategy": jointly("train.save_strategy"),
    "save_steps": jointly("train.save_steps"),
    "save_total_limit": same("train.save_total_limit"),
    "eval_strategy": jointly("eval.every"),
    "evaluation_strategy": jointly("eval.every"),
    "eval_steps": jointly("eval.every"),
    "load_best_model_at_end": jointly("eval.keep_best"),
    "metric_for_best_model": jointly("eval.keep_best"),
    "greater_is_better": Meaning(NOT_NEEDED, "", "known of each figure", lambda _value: ABSENT),
    "bf16": jointly("train.precision"),
    "fp16": jointly("train.precision"),
    "seed": same("seed"),
    "data_seed": changed("", "one seed says everything"),
    "output_dir": same("output_dir"),
    "report_to": same("train.report_to", take=_trackers),
    "truncation_mode": changed("", CUT),
    "dataset_text_field": changed(
        "", "question and answer are told apart: columns are found, or mapped by data.columns"
    ),
    "completion_only_loss": Meaning(
        SAME,
        "data.supervise",
        "loss on the answer",
        lambda value: Outcome(REFUSED, "loss on the prompt is not offered") if value is False else "last",
    ),
    "assistant_only_loss": same("data.supervise", "loss on every answer", lambda value: "all" if value else ABSENT),
    "chat_template_path": same("model.chat_template"),
    "pad_token": same("model.pad_token"),
    "eos_token": changed("", "the end token is the one that the chat template ends a turn with"),
    "group_by_length": changed("", "rows come in random order"),
    "train_sampling_strategy": Meaning(
        SAME, "", "rows come in random order", one_of({"random": ABSENT}, "rows come in random order", CHANGED)
    ),
    "shuffle_dataset": Meaning(NOT_NEEDED, "", "rows are shuffled in any case", lambda _value: ABSENT),
    "dataset_kwargs": changed("", "rows are prepared by medtune's own encoder"),
    "model_init_kwargs": changed("", "how the base is loaded is said by model and quant"),
    "resume_from_checkpoint": refused("a checkpoint of another program cannot be gone on from; see medtune adopt"),
    "max_samples": changed("data.limit", "drawn evenly by source, not the first ones"),
    **{
        name: refused(why)
        for name, why in {
            "neftune_noise_alpha": "noise on embeddings is not offered",
            "label_smoothing_factor": "label smoothing is not offered",
            "optim_args": "further settings of optimizers are not offered",
            "optim_target_modules": "optimizers that project gradients are not offered",
            "router_aux_loss_coef": "the loss of routers is not trained on",
            "deepspeed": "start several processes with torchrun (medtune launch); train.parallel shards a base",
            "fsdp": "set train.parallel=fsdp for bases that do not fit one GPU",
            "fsdp_config": "set train.parallel=fsdp for bases that do not fit one GPU",
            "parallelism_config": "one run spreads over GPUs by train.parallel alone",
            "push_to_hub": "a run pushes nothing; medtune export RUN --to hub does",
            "trust_remote_code": "code of repositories is never run",
        }.items()
    },
    "loss_type": Meaning(SAME, "", "cross-entropy", one_of({"nll": ABSENT, None: ABSENT}, "the loss is cross-entropy")),
    **unneeded(
        "how it is computed, not what: chosen by memory and hardware",
        *(
            "gradient_checkpointing",
            "gradient_checkpointing_kwargs",
            "activation_checkpointing",
            "activation_checkpointing_kwargs",
        ),
        *(
            "activation_offloading",
            "tf32",
            "torch_compile",
            "torch_compile_backend",
            "torch_compile_mode",
            "use_liger_kernel",
        ),
        *(
            "liger_kernel_config",
            "use_liger",
            "use_cache",
            "torch_empty_cache_steps",
            "auto_find_batch_size",
            "padding_free",
        ),
        *(
            "pad_to_multiple_of",
            "dataset_num_proc",
            "accelerator_config",
            "use_cpu",
            "no_cuda",
            "average_tokens_across_devices",
        ),
        *("full_determinism", "low_cpu_mem_usage", "device_map", "eval_packing", "local_rank"),
        *(
            "ddp_find_unused_parameters",
            "ddp_bucket_cap_mb",
            "ddp_broadcast_buffers",
            "ddp_static_graph",
            "ddp_backend",
            "ddp_timeout",
        ),
        *(
            "dataloader_num_workers",
            "dataloader_pin_memory",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
        ),
        *(
            "dataloader_multiprocessing_context",
            "dataloader_in_order",
            "dataloader_drop_last",
            "bf16_full_eval",
            "fp16_full_eval",
        ),
    ),
    **unneeded(
        "logging and saving are medtune's own",
        *(
            "logging_strategy",
            "logging_first_step",
            "logging_dir",
            "log_on_each_node",
            "logging_nan_inf_filter",
            "log_level",
        ),
        *(
            "log_level_replica",
            "disable_tqdm",
            "run_name",
            "project",
            "include_num_input_tokens_seen",
            "include_tokens_per_second",
        ),
        *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "save_only_model", "save_on_each_node"),
        *(
            "save_safetensors",
            "enable_jit_checkpoint",
            "skip_memory_metrics",
            "debug",
            "overwrite_output_dir",
            "ignore_data_skip",
        ),
        *("restore_callback_states_from_checkpoint", "remove_unused_columns", "label_names", "length_column_name"),
    ),
    **unneeded(
        "a run pushes nothing to the hub",
        *("hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push", "hub_revision"),
    ),
    **unneeded(
        "answers are generated and scored by task",
        *(
            "per_device_eval_batch_size",
            "eval_accumulation_steps",
            "eval_delay",
            "prediction_loss_only",
            "eval_on_start",
        ),
        *("eval_do_concat_batches", "eval_use_gather_object", "include_for_metrics", "batch_eval_metrics"),
    ),
    **unneeded("said by the command", "do_train", "do_eval", "do_predict"),
}
"""Arguments of transformers' TrainingArguments and TRL's SFTConfig."""

SCRIPT: dict[str, Meaning] = {
    "train_dataset": changed("", "say where the rows are: data.source"),
    "eval_dataset": changed("", "say where the rows are: data.validation"),
    "formatting_func": changed("", "question and answer are told apart: columns are found, or mapped by data.columns"),
    "instruction_part": changed("", "loss is on answers, whose place is known from the chat template"),
    "response_part": changed("", "loss is on answers, whose place is known from the chat template"),
    **unneeded(
        "a value of the script, whose own settings are read where they are made",
        *("token", "model", "tokenizer", "processing_class", "args", "data_collator", "callbacks", "peft_config"),
        *("quantization_config", "cache_dir", "use_fast"),
    ),
}
"""Keywords of SFTTrainer and of loading a model in a script, and of unsloth's train_on_responses_only."""

TRAINING_DEFAULTS: dict[str, Any] = {
    "train.per_device_batch_size": 8,
    "train.gradient_accumulation_steps": 1,
    "train.num_train_epochs": 3.0,
    "train.learning_rate": 5e-5,
    "train.lr_scheduler_type": "linear",
    "train.warmup_ratio": 0.0,
    "train.optim": "adamw_torch_fused",
    "train.packing": False,
    "train.save_strategy": "steps",
    "train.save_steps": 500,
}
"""What transformers takes where nothing is said and medtune takes another value."""
