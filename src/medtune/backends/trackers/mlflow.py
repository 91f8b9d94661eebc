"""MLflow: ``mlflow/mlflow.db`` (SQLite) in the run folder, or the server that MLFLOW_TRACKING_URI names."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.backends.trackers.tracking import Tracking
from medtune.machine.owner_only import hide_file, make_folder

__all__ = ["tracker"]

_EXPERIMENT, _TAG, _LONGEST = "medtune", "medtune.run_id", 500
_STATES = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class _Run:
    """Through the client alone: the fluent functions would add user, host, source file and git commit as tags."""

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            make_folder(folder)
            hide_file(folder / "mlflow.db")  # SQLite gives its journals the rights of this file
            uri = f"sqlite:///{folder / 'mlflow.db'}"
        self._client: Any = MlflowClient(uri)
        found = self._client.get_experiment_by_name(_EXPERIMENT)
        place = (
            found.experiment_id if found else self._client.create_experiment(_EXPERIMENT, "mlflow-artifacts:/medtune")
        )
        kept = self._client.search_runs([place], f"tags.`{_TAG}` = '{run_id}'")
        if kept:
            self._id = kept[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(place, tags={_TAG: run_id}, run_name=run_id[:8]).info.run_id
        for key, value in settings.items():
            self._client.log_param(self._id, key, str(value)[:_LONGEST])

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(key, value, now, step) for key, value in figures.items()])

    def end(self, state: str) -> None:
        """Set the run's status."""
        self._client.set_terminated(self._id, _STATES[state])


tracker = Tracking("mlflow", "mlflow", lambda run, run_id, settings: _Run(run / "mlflow", run_id, settings))
run_started, step_logged = tracker.run_started, tracker.step_logged
run_finished, run_failed = tracker.run_finished, tracker.run_failed
