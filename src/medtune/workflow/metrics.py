"""The figures of a run as its record keeps them: the JSON of ``medtune train``."""

from collections.abc import Mapping
from typing import Any

from medtune.runs.folder import RunFolder

__all__ = ["metrics_of"]

_TOLD = ("steps", "train_loss", "tokens_per_second", "peak_memory_gib", "seconds")


def metrics_of(folder: RunFolder, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return training figures, and per task the metric, base, tuned and rows, of a run and its ``run.json``."""
    result: Mapping[str, Any] = record.get("result", {})
    return {
        "run": str(folder.path),
        "adapter": str(folder.adapter_dir) if folder.adapter_dir.is_dir() else None,
        "state": folder.state_by(record),
        **{key: result.get(key) for key in _TOLD},
        "scores": record.get("scores", {}),
        "held_out_loss": record.get("held_out_loss", {}),
    }
