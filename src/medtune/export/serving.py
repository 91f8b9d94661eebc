"""Adapters for vLLM and SGLang: checked against their limits, with the command that serves them and a smoke script."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.errors import SpecError
from medtune.export.adapter_delta import read_delta
from medtune.export.merged import copy_tokenizer
from medtune.export.options import read_options
from medtune.plugins.contracts import Exported, ExportSource
from medtune.plugins.origin import told_of
from medtune.specs.bounded import json_file

__all__ = ["SMOKE_SCRIPT", "AdapterForServer"]

SMOKE_SCRIPT = Path(__file__).with_name("smoke.py")
"""A program of the standard library alone that is copied beside the adapter."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM's --max-lora-rank takes."""


class AdapterForServer:
    """An adapter that a server puts on the base by itself.

    Args:
        name: "vllm" or "sglang".

    Options: ``served_name``, by which the tuned model is asked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> dict[str, Any]:
        """Return what it works by."""
        return told_of("safetensors")

    def check(self, source: ExportSource, options: Mapping[str, Any]) -> None:
        """Refuse adapters that this server cannot load, or would load only in part."""
        read_options(self.name, options, {"served_name": "tuned"})
        config = json_file(source.adapter_dir / "adapter_config.json")
        delta = read_delta(source.adapter_dir)
        problem = ""
        if delta.dora:
            problem = "has DoRA's magnitudes, which it does not apply"
        elif delta.biases or config.get("bias") != "none":
            problem = "has trained biases, which it does not load"
        elif delta.r > _RANKS[-1]:
            problem = f"has rank {delta.r}, and it takes {_RANKS[-1]} at most"
        elif odd := sorted(name for name in delta.layers if not name.endswith("_proj.weight")):
            problem = f"changes '{odd[0]}', which it may pass over"
        if problem:
            raise SpecError(f"this adapter {problem} ({self.name}); export to merged, and serve that")

    def export(self, source: ExportSource, target: Path, options: Mapping[str, Any]) -> Exported:
        """Write the adapter, its tokenizer and the smoke script."""
        served = str(read_options(self.name, options, {"served_name": "tuned"})["served_name"])
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(source.adapter_dir / name, target / name)
        copy_tokenizer(source.adapter_dir, target)
        shutil.copyfile(SMOKE_SCRIPT, target / "smoke.py")
        rank = read_delta(source.adapter_dir).r
        base = source.spec.model.repository or "BASE"
        command = {
            "vllm": f"vllm serve {base} --enable-lora --max-lora-rank {next(r for r in _RANKS if r >= rank)} "
            f"--lora-modules {served}=. --chat-template chat_template.jinja",
            "sglang": f"python -m sglang.launch_server --model-path {base} --enable-lora --max-lora-rank {rank} "
            f"--lora-paths {served}=. --chat-template chat_template.jinja",
        }[self.name]
        usage = (command, f"python smoke.py http://127.0.0.1:{8000 if self.name == 'vllm' else 30000} {served}")
        facts = {"rank": rank, "served_name": served, "source": "original", "smoke": True}
        return Exported(target, "peft", "fp32", {"base": str(source.base_dir)}, facts, usage)
