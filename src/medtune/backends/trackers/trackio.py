"""trackio: its own database on this machine (TRACKIO_DIR), never a Space unless TRACKIO_SPACE_ID names one."""

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from medtune.backends.trackers.tracking import Tracking

__all__ = ["tracker"]


class _Run:
    """Named by the run's id, by which it is found again."""

    def __init__(self, run_id: str, settings: Mapping[str, Any]) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        space = os.environ.get("TRACKIO_SPACE_ID")
        off = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}  # they would read the machine
        with redirect_stdout(io.StringIO()):  # stdout is the caller's
            self._run: Any = trackio.init(
                "medtune", name=run_id, resume="allow", config=dict(settings), space_id=space, **off
            )

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        self._run.log(dict(figures), step=step)

    def end(self, _state: str) -> None:
        """Hand on what waits."""
        with redirect_stdout(io.StringIO()):
            self._run.finish()


def _begin(_run: Path, run_id: str, settings: dict[str, Any]) -> _Run:
    return _Run(run_id, settings)


tracker = Tracking("trackio", "trackio", _begin)
run_started, step_logged = tracker.run_started, tracker.step_logged
run_finished, run_failed = tracker.run_finished, tracker.run_failed
