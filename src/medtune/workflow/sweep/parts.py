"""One part of one setting: trained from where it stands to a share of its updates, and its figure read from its log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.errors import RunInterruptedError
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.runs.log import RunLog
from medtune.workflow.given_rows import Rows
from medtune.workflow.leg import PAUSED, Leg
from medtune.workflow.progress import Progress
from medtune.workflow.session import Session
from medtune.workflow.shared_base import SharedBase, free_memory
from medtune.workflow.state import failure
from medtune.workflow.sweep.settings import Setting
from medtune.workflow.sweep.shared import require_same_rows

__all__ = ["Parts"]


@dataclass(slots=True)
class Parts:
    """Does parts of settings one after the other.

    Attributes:
        folder: of the sweep.
        by: figure by which settings are compared.
        host: the plugins.
        rows: training rows instead of those that the specs name.
        told: whom to tell; the same sentence once.
        bases: the base in memory.
    """

    folder: Path
    by: str
    host: PluginHost
    rows: Rows | None
    told: Progress
    bases: SharedBase
    _said: set[str] = field(default_factory=set[str], init=False)

    def bring(self, setting: Setting, known: dict[str, Any], share: float) -> None:
        """Train a setting to a share of its updates, and add the part to what is known of it.

        Raises:
            MedtuneError: as ``MedTuner.train``.
        """
        siblings = sorted((self.folder / "runs").glob("*/evaluation"))
        leg = Leg(share, self.by, self.bases, siblings, setting.spec.seed)
        self.told.stage(
            f"{setting.name}: to {share:.3g} of its updates" if share < 1 else f"{setting.name}: to its end"
        )
        began = time.perf_counter()
        try:
            Session(setting.spec, self.host, self.rows, listeners=self._listeners(), quiet=True, leg=leg).train()
            known["state"] = "finished"
        except RunInterruptedError as stopped:
            if stopped.reason != PAUSED:
                raise
            known["state"] = "paused"
        finally:
            known["seconds"] = round(known["seconds"] + time.perf_counter() - began, 3)
            free_memory()
        require_same_rows(Path(setting.spec.output_dir))
        figure = _figure_of(Path(setting.spec.output_dir), self.by, leg.until)
        known["parts"].append({"share": share, "update": leg.until, "figure": figure})

    def fail(self, known: dict[str, Any], error: Exception) -> None:
        """Note what a setting failed of; the base, which may be in any state, is freed."""
        known |= {"state": "failed", "error": failure(error)}
        error.__traceback__ = None  # which holds the memory of the failed pass
        self.bases.drop()
        self.told.stage(f"{known['name']} failed: {known['error']['message']}")

    def _listeners(self) -> Mapping[str, Callable[[Any], None]]:
        def once(sentence: str) -> None:
            if sentence not in self._said:
                self._said.add(sentence)
                self.told.stage(sentence)

        return {"on_step": self.told.step, "on_stage": once, "on_download": self.told.download}


def _figure_of(run: Path, by: str, step: int | None) -> float | None:
    """Return the figure that a run's log holds of an update, the greater the better; None where it is undefined."""
    value: Any = None
    for record in RunLog(RunFolder(run).log_path).read():
        if record.get("step") == step:
            found = record.get("held_out_loss") if by == "loss" else _score(record, by)
            value = value if found is None else found
    if not isinstance(value, int | float):
        return None
    return -float(value) if by == "loss" else float(value)


def _score(record: Mapping[str, Any], by: str) -> Any:
    return record.get("macro") if by == "macro" else record.get("evaluation", {}).get(by)
