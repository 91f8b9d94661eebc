"""What all trackers share: when they are told, and what may leave the run folder: settings and figures, nothing else."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from medtune.errors import RunInterruptedError
from medtune.errors.masking import masked_values
from medtune.machine.hardware import is_first_rank
from medtune.plugins.contracts import FinishedRun
from medtune.plugins.hookspecs import hookimpl
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec

__all__ = ["Opened", "Tracking", "figures_of", "settings_of"]


class Opened(Protocol):
    """A run in a tracker."""

    def log(self, figures: Mapping[str, float], step: int, /) -> None:
        """Take figures of an update."""
        ...

    def end(self, state: str, /) -> None:
        """Take how it ended, "finished", "interrupted" or "failed", and let go of it."""
        ...


class Tracking:
    """Observes runs whose ``train.report_to`` holds its name.

    Args:
        name: of the tracker.
        package: that it needs.
        begin: opens a run by its folder, id and settings; one that is there already goes on.
    """

    def __init__(self, name: str, package: str, begin: Callable[[Path, str, dict[str, Any]], Opened]) -> None:
        self.name, self.package, self._begin = name, package, begin
        self._opened: dict[str, tuple[Opened, int]] = {}

    @hookimpl
    def run_started(self, spec: RunSpec, plan: Plan, run_id: str) -> None:
        """Open it."""
        if self.name in spec.train.report_to and is_first_rank():
            settings = settings_of(spec) | {"device": plan.device}
            self._opened[run_id] = self._begin(Path(spec.output_dir).absolute(), run_id, settings), 0

    @hookimpl
    def step_logged(self, record: Mapping[str, Any], run_id: str) -> None:
        """Hand on the figures of a line."""
        if run_id in self._opened and "step" in record and (figures := figures_of(record)):
            opened = self._opened[run_id][0]
            self._opened[run_id] = opened, record["step"]
            opened.log(figures, record["step"])

    @hookimpl
    def run_finished(self, run: FinishedRun, run_id: str) -> None:
        """Hand on the scores, and close it."""
        opened, step = self._opened.pop(run_id, (None, 0))
        if opened is not None:
            scores: Mapping[str, Mapping[str, Any]] = run.metrics.get("scores", {})
            told = {f"{which}/{task}": row.get(which) for task, row in scores.items() for which in ("base", "tuned")}
            if numbers := _numbers(told):
                opened.log(numbers, step)
            opened.end("finished")

    @hookimpl
    def run_failed(self, error: BaseException, run_id: str) -> None:
        """Close it; the error's text stays in the run folder."""
        opened, _step = self._opened.pop(run_id, (None, 0))
        if opened is not None:
            opened.end("interrupted" if isinstance(error, RunInterruptedError | KeyboardInterrupt) else "failed")


def figures_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a record; what is told by source or by row is left out: such names come from the data."""
    by_task = {f"evaluation/{task}": figure for task, figure in record.get("evaluation", {}).items()}
    return _numbers({**{key: value for key, value in record.items() if key != "step"}, **by_task})


def settings_of(spec: RunSpec) -> dict[str, Any]:
    """Return the settings that say how was trained; no path, no data, and no name of a base that lies in a folder."""
    parts = {"lora": spec.lora, "quant": spec.quant, "train": spec.train}
    found = {f"{part}.{key}": value for part, values in parts.items() for key, value in values.model_dump().items()}
    plain = {key: value for key, value in found.items() if isinstance(value, str | int | float)}
    base = spec.model.name if spec.model.path is None else "a local base"
    told: dict[str, Any] = masked_values(plain | {"seed": spec.seed, "base": base})
    return told


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
