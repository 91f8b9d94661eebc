"""What an exporter is given and what it returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.specs import RunSpec

__all__ = ["ExportSource", "Exported", "StoredAs"]

StoredAs = Callable[[str, Any], Any]
"""Name of a tensor of the base and its values [outputs, inputs] -> the values that the run computed with."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A run whose adapter and base were verified, as files.

    Attributes:
        run_dir: the run folder.
        adapter_dir: the adapter in peft's standard form, with tokenizer, chat template and prompt contract.
        base_dir: config.json, generation config and safetensors of the base.
        spec: the run's spec, its storage scheme settled.
        stop_ids: ids that end an answer; the first ends a turn of the chat template.
        record: content of ``run.json``.
        stored_as: what storage made of the base's values; None where they were kept as they are, or the run's
            quantizer cannot say.
    """

    run_dir: Path
    adapter_dir: Path
    base_dir: Path
    spec: RunSpec
    stop_ids: tuple[int, ...]
    record: Mapping[str, Any]
    stored_as: StoredAs | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """An artifact.

    Attributes:
        path: folder of the artifact.
        reader: what loads it again to compare: "transformers" (a folder of a whole model), "peft" (an adapter and the base),
            "llama.cpp" (a GGUF file), or "" where medtune knows no way; the artifact then counts as unproved.
        load: what the reader needs besides, as JSON values: ``file``, ``adapter``, ``base``, ``modelfile``.
        precision: type of its weights, such as "bf16" or "Q8_0"; bounds how far its logits may be off.
        facts: what was chosen and found, as JSON values; written into ``export.json``.
        usage: lines that say how it is used, such as a command.
        state: "written" before the proof, then "proved", "unproved" or "refused".
    """

    path: Path
    reader: str
    precision: str
    load: Mapping[str, Any] = field(default_factory=dict[str, Any])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    usage: tuple[str, ...] = ()
    state: str = "written"
