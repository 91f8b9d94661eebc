"""Writes base and adapter as one model in safetensors, shard by shard, so that no more than a shard is in memory."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.options import chosen, read_options
from medtune.export.tuned_weights import SOURCES, TunedWeights, base_source
from medtune.plugins.contracts import Exported, ExportSource
from medtune.plugins.origin import told_of
from medtune.specs.bounded import json_file

__all__ = ["DTYPES", "TOKENIZER_FILES", "MergedExporter", "copy_tokenizer"]

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_STORED = {"BF16": "bf16", "F16": "fp16", "F32": "fp32"}
_SHARD_BYTES = 2 * 2**30
_DEFAULTS = {"dtype": "auto", "source": "auto"}
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
    "prompt_contract.json",
)
"""Files beside an adapter that say how it is asked; the contract's samples are no row of any data set."""


class MergedExporter:
    """A whole model that transformers, vLLM, SGLang and others load without peft.

    Options: ``dtype`` ("bf16", "fp16", "fp32"; "auto" is the type that the base's files have), ``source`` ("trained": the
    values that the run computed with, dequantized; "original": the base as its files have it; "auto": "trained").
    """

    name = "merged"

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("safetensors")

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse what cannot be merged, before anything is loaded."""
        _chosen(source, options)

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write ``model-*.safetensors``, its index, config, generation config, tokenizer and chat template."""
        dtype, weights, values = _chosen(source, options)
        changed = _write_weights(target, weights, dtype)
        _write_config(target, weights.folder.config, dtype)
        write_generation_config(target, source)
        copy_tokenizer(source.adapter_dir, target)
        facts = {"dtype": dtype, "source": values, "changed_tensors": changed}
        # from within the folder, as all exporters' lines: it is written under another name than it ends up with
        usage = ("python -c \"from transformers import pipeline; pipeline('text-generation', '.')\"",)
        return Exported(target, "transformers", dtype, facts=facts, usage=usage)


def copy_tokenizer(adapter_dir: Path, target: Path) -> None:
    """Copy the tokenizer that the adapter was trained with, its chat template and the prompt contract."""
    for name in TOKENIZER_FILES:
        if (adapter_dir / name).is_file():
            shutil.copyfile(adapter_dir / name, target / name)


def write_generation_config(target: Path, source: ExportSource) -> None:
    """Write the base's generation config with the ids that end an answer, greedy as the run was scored."""
    file = source.base_dir / "generation_config.json"
    values: dict[str, Any] = json_file(file, finite=False) if file.is_file() else {}
    for sampling_only in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
        values.pop(sampling_only, None)
    values |= {"do_sample": False, "eos_token_id": list(source.stop_ids)}
    (target / "generation_config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")


def _chosen(source: ExportSource, options: Mapping[str, Any]) -> tuple[str, TunedWeights, str]:
    asked = read_options("merged", options, _DEFAULTS)
    dtype = chosen("merged", "dtype", asked["dtype"], ("auto", *DTYPES))
    values = base_source(source, chosen("merged", "source", asked["source"], ("auto", *SOURCES)))
    weights = TunedWeights(source, values)
    if dtype == "auto":
        kinds = [weights.names[name].dtype for name in weights.delta.layers]
        dtype = _STORED.get(max(set(kinds), key=kinds.count), "bf16") if kinds else "bf16"
    return dtype, weights, values


def _write_weights(target: Path, weights: TunedWeights, dtype: str) -> int:
    """Write all tensors; return how many of them the adapter changed."""
    import torch
    from safetensors.torch import save_file

    kind, files = getattr(torch, DTYPES[dtype]), dict[str, list[str]]()
    total = 0
    for number, shard in enumerate(_shards(weights, kind), start=1):
        name = f"model-{number:05d}.safetensors"
        _require_finite(shard)
        save_file(shard, target / name, metadata={"format": "pt"})
        files[name] = list(shard)
        total += sum(tensor.numel() * tensor.element_size() for tensor in shard.values())
        shard.clear()  # or it would stay in memory until the next one is whole
    if len(files) == 1:
        (target / "model-00001.safetensors").rename(target / "model.safetensors")
    else:
        named = {tensor: file for file, tensors in files.items() for tensor in tensors}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(named.items()))}
        (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return len(weights.delta.names)


def _shards(weights: TunedWeights, kind: Any) -> Iterator[dict[str, Any]]:
    """Yield the tensors in shards; those that are no floats keep their type."""
    shard, size = dict[str, Any](), 0
    for name in weights.in_order():
        value = weights.read(name)
        value = (value.to(kind) if value.is_floating_point() else value).contiguous()
        size += value.numel() * value.element_size()
        if shard and size > _SHARD_BYTES:
            yield shard
            shard, size = {}, value.numel() * value.element_size()
        shard[name] = value
    yield shard


def _require_finite(shard: Mapping[str, Any]) -> None:
    for name, value in shard.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise SpecError(f"'{name}' of the merged model is not finite in this dtype; use dtype=bf16 or fp32")


def _write_config(target: Path, config: Mapping[str, Any], dtype: str) -> None:
    values = {key: value for key, value in config.items() if key not in ("torch_dtype", "auto_map", "_name_or_path")}
    values["dtype"] = DTYPES[dtype]
    (target / "config.json").write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
