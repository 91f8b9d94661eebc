"""Weights & Biases: offline files in ``wandb/`` of the run folder, unless WANDB_MODE says otherwise."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.backends.trackers.tracking import Tracking
from medtune.machine.owner_only import make_folder

__all__ = ["tracker"]

_OFF: Mapping[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "host": "",
    "program": "",
    "quiet": True,
    "save_code": False,
    "silent": True,
    "symlink": False,
    "username": "",
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""What it would read of machine, user, code and environment."""


class _Run:
    """Has the run's id, by which it goes on."""

    def __init__(self, folder: Path, run_id: str, settings: Mapping[str, Any]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        make_folder(folder)
        self._folder = folder
        given, mode = wandb.Settings(**_OFF), os.environ.get("WANDB_MODE", "offline")
        own = {"id": run_id, "name": run_id[:8], "resume": "allow", "dir": str(folder), "config": dict(settings)}
        self._run: Any = wandb.init(project="medtune", mode=mode, settings=given, **own)
        self._remove_links()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        self._run.log(dict(figures), step=step)

    def end(self, state: str) -> None:
        """Finish; a run that was interrupted may go on."""
        self._run.finish(exit_code=int(state == "failed"))
        self._remove_links()

    def _remove_links(self) -> None:
        """Remove the link to a log elsewhere, which no setting turns off: a run folder with a link in it is damaged."""
        for path in self._folder.rglob("*"):
            if path.is_symlink():
                path.unlink(missing_ok=True)


tracker = Tracking("wandb", "wandb", _Run)
run_started, step_logged = tracker.run_started, tracker.step_logged
run_finished, run_failed = tracker.run_finished, tracker.run_failed
