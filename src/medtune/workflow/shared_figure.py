"""A bench as a figure that its user can send in: the GPU, the versions, the shape, the settings, and what was measured.

Nothing of the machine or its user goes along: no host name, no path, no name of a model, no row.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medtune.accel.model.tolerances import WAYS
from medtune.machine.hardware import describe_machine
from medtune.planning.figures import FORMAT
from medtune.runs.durable import replace_file
from medtune.workflow.bench import BenchReport

__all__ = ["share_figure", "shared_figure"]

_LIBRARIES = ("medtune", "torch", "triton", "transformers", "peft", "trl", "bitsandbytes")
_MEASURED = ("tokens_per_second", "peak_gib", "step_seconds")


def shared_figure(report: BenchReport) -> dict[str, Any]:
    """Return a bench as JSON values: nothing but what is named here."""
    accelerator = describe_machine().accelerator
    card: dict[str, Any] = {"name": "CPU", "memory_gib": 0.0, "capability": [0, 0]}
    if accelerator is not None:
        capability = list(accelerator.capability)
        card = {"name": accelerator.name, "memory_gib": round(accelerator.memory_gib, 1), "capability": capability}
    return {
        "format": FORMAT,
        "card": card,
        "versions": _versions(),
        "shape": dict(report.shape),
        "settings": {
            **report.settings,
            **report.work,
            "path": "fast" if report.proof.get("route") == WAYS[0] else "plain",
        },
        "steps": report.steps,
        "measured": {name: report.measured[name] for name in _MEASURED},
    }


def share_figure(report: BenchReport, file: Path) -> Mapping[str, Any]:
    """Write the figure of a bench to a file, and return it.

    Raises:
        WriteFailedError: the system refused the write.
    """
    figure = shared_figure(report)
    content = json.dumps(figure, indent=1, allow_nan=False) + "\n"
    replace_file(file, content.encode(), "the figure")
    return figure


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
