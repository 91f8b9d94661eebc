"""A table of the logged steps, steps.csv in the run folder, for whoever likes spreadsheets."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune import Plan, RunSpec, hookimpl

COLUMNS = ("step", "loss", "learning_rate", "tokens")


class StepTable:
    """Keeps where the table of the run lies."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @hookimpl
    def run_started(self, spec: RunSpec, plan: Plan) -> None:
        self._path = Path(spec.output_dir) / "steps.csv"
        if not self._path.exists():
            self._append(COLUMNS)

    @hookimpl
    def step_logged(self, record: Mapping[str, Any]) -> None:
        if "loss" in record:
            self._append([record.get(name, "") for name in COLUMNS])

    def _append(self, values: Any) -> None:
        if self._path is not None:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(values)


plugin = StepTable()
