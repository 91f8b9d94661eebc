"""LLaMA-Factory's YAML, JSON and command lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.errors import SpecError
from medtune.specs.elsewhere.data_sets import held_out, llama_factory_data
from medtune.specs.elsewhere.huggingface import ADAPTER, FULL_TUNING, bits_stored, targets
from medtune.specs.elsewhere.meanings import (
    ABSENT,
    CHANGED,
    REFUSED,
    SAME,
    Finding,
    Meaning,
    Outcome,
    Program,
    changed,
    jointly,
    one_of,
    refused,
    same,
    unneeded,
)
from medtune.specs.elsewhere.together import finish_training
from medtune.specs.elsewhere.training import CUT, TRAINING, TRAINING_DEFAULTS

__all__ = ["LLAMA_FACTORY"]


KEYS: dict[str, Meaning] = {
    **TRAINING,
    **{name: ADAPTER[name] for name in ("lora_alpha", "lora_dropout", "use_rslora", "use_dora", "loraplus_lr_ratio")},
    "model_name_or_path": same("model.name"),
    "model_revision": same("model.revision", take=lambda value: ABSENT if value == "main" else value),
    "stage": Meaning(SAME, "", "supervised fine-tuning", lambda _value: ABSENT),
    "finetuning_type": Meaning(SAME, "", "LoRA", one_of({"lora": ABSENT}, FULL_TUNING)),
    "lora_rank": same("lora.r"),
    "lora_target": same("lora.target_modules", take=targets),
    "pissa_init": same("lora.init", take=lambda value: "pissa" if value else ABSENT),
    "pissa_iter": changed("", "PiSSA is computed exactly, not by iterations"),
    "quantization_bit": jointly("quant.scheme"),
    "quantization_method": Meaning(
        SAME,
        "",
        "bitsandbytes",
        one_of({"bnb": ABSENT, "bitsandbytes": ABSENT}, "bases are quantized by bitsandbytes, or in fp8"),
    ),
    "quantization_type": jointly("quant.scheme"),
    "double_quantization": same("quant.double_quant", take=bool),
    "template": changed(
        "", "the model's own chat template, unless model.chat_template names one; compare by medtune preview --against"
    ),
    "cutoff_len": changed("train.max_length", CUT),
    "dataset": jointly("data.source"),
    "eval_dataset": jointly("data.validation"),
    "dataset_dir": jointly("data.source"),
    "val_size": same("data.validation_fraction", "held out evenly by source", held_out),
    "train_on_prompt": Meaning(
        SAME,
        "",
        "loss on answers",
        lambda value: Outcome(REFUSED, "loss on the prompt is not offered") if value else ABSENT,
    ),
    "mask_history": same("data.supervise", "loss on the last answer", lambda value: "last" if value else ABSENT),
    "packing": changed(
        "train.packing",
        "samples are isolated, as by neat_packing",
        lambda value: bool(value) if value is not None else ABSENT,
    ),
    "neat_packing": same("train.packing", "samples are isolated", lambda value: True if value else ABSENT),
    "streaming": same("data.streaming", take=bool),
    "mix_strategy": Meaning(
        SAME,
        "",
        "one after the other",
        one_of({"concat": ABSENT}, "sources are mixed by their weights (data.mix)", CHANGED),
    ),
    "early_stopping_steps": same("eval.patience"),
    "pure_bf16": changed("train.precision", "the adapter stays in fp32", lambda value: "bf16" if value else ABSENT),
    "tool_format": changed("", "tools are what the chat template makes of them"),
    "tokenized_path": changed("", "rows are prepared by medtune's own encoder, and kept in its cache"),
    "disable_shuffling": refused("rows are always shuffled"),
    **{
        name: refused(why)
        for name, why in {
            "adapter_name_or_path": "an adapter cannot be trained further; see medtune adopt",
            "additional_target": "whole modules are not trained beside the adapter",
            "resize_vocab": "the embedding is never resized",
            "add_tokens": "tokens are not added",
            "add_special_tokens": "tokens are not added",
            "rope_scaling": "positions are as the base's config.json says",
            "shift_attn": "another attention than the base's is not offered",
            "mixture_of_depths": "the base is trained as it is",
            "train_from_scratch": FULL_TUNING,
            "use_llama_pro": FULL_TUNING,
            "use_dft_loss": "the loss is cross-entropy",
            "use_muon": "this optimizer is not offered",
            "use_adam_mini": "this optimizer is not offered",
            "use_galore": "optimizers that project gradients are not offered",
            "use_apollo": "optimizers that project gradients are not offered",
            "use_badam": "this optimizer is not offered",
            "use_mca": "one run spreads over GPUs by train.parallel alone",
            "interleave_probs": "sources are mixed by their weights (data.mix)",
            "eval_on_each_dataset": "scores are told by source in any case",
            "fp8": "fp8 is a way to store the base: quant.scheme=fp8",
        }.items()
    },
    **unneeded(
        "how it is computed, not what",
        *(
            "flash_attn",
            "enable_liger_kernel",
            "use_unsloth",
            "use_unsloth_gc",
            "disable_gradient_checkpointing",
            "use_reentrant_gc",
        ),
        *(
            "upcast_layernorm",
            "upcast_lmhead_output",
            "infer_backend",
            "offload_folder",
            "use_kv_cache",
            "use_v1_kernels",
        ),
        *("infer_dtype", "quantization_device_map", "low_cpu_mem_usage", "split_special_tokens", "use_fast_tokenizer"),
    ),
    **unneeded(
        "of no effect on what is trained",
        *(
            "cache_dir",
            "overwrite_cache",
            "preprocessing_batch_size",
            "preprocessing_num_workers",
            "buffer_size",
            "media_dir",
        ),
        *(
            "plot_loss",
            "compute_accuracy",
            "include_effective_tokens_per_second",
            "print_param_status",
            "create_new_adapter",
        ),
        *(
            "hf_hub_token",
            "ms_hub_token",
            "om_hub_token",
            "adapter_folder",
            "pissa_convert",
            "ignore_pad_token_for_loss",
        ),
        *(
            "predict_with_generate",
            "eval_num_beams",
            "use_swanlab",
            "swanlab_project",
            "swanlab_run_name",
            "swanlab_mode",
        ),
        *("ray_run_name", "ray_num_workers", "ray_storage_path", "resources_per_worker", "placement_strategy"),
        *("image_max_pixels", "image_min_pixels", "video_max_pixels", "video_min_pixels", "video_fps", "video_maxlen"),
    ),
}


def _finish(given: Mapping[str, Any], values: dict[str, Any]) -> Iterator[Finding]:
    if given.get("stage", "sft") != "sft":
        raise SpecError(
            f"the configuration is of stage '{given['stage']}', which is not offered; only supervised fine-tuning is (stage: sft)"
        )
    yield from finish_training(given, values)
    bits = given.get("quantization_bit")
    values["quant.scheme"] = bits_stored(bits, given.get("quantization_type"))
    if bits not in (None, 0, 4, 8):
        yield Finding("quantization_bit", bits, REFUSED, "quant.scheme", "bases are stored in 4, 8 or 16 bits")
    values.setdefault("lora.alpha", 2 * int(values.get("lora.r", 8)))
    yield from llama_factory_data(given, values)


LLAMA_FACTORY = Program(
    "LLaMA-Factory",
    KEYS,
    marks=frozenset(
        {"stage", "finetuning_type", "cutoff_len", "lora_target", "template", "quantization_bit", "dataset_dir"}
    ),
    defaults={
        **TRAINING_DEFAULTS,
        "train.max_length": 2048,
        "lora.dropout": 0.0,
        "data.supervise": "all",
    },
    notes=(("length", CUT),),
    finish=_finish,
)
