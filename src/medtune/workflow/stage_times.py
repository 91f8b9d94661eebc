"""How long each stage of a run took, beside the minutes that its plan promised."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["STAGES", "StageTimes"]

STAGES = ("load", "prepare", "train", "score")
"""Those that a plan promises minutes for; a download is none of them, since its speed is not known before."""


@dataclass(slots=True, eq=False)
class StageTimes:
    """The clock of one run; seconds by stage, of earlier calls of the same run too once ``begin_at`` was told them."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    _running: tuple[str, float] | None = None

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Count the time that passes within; what is asked for meanwhile has the time so far."""
        self._running = (stage, time.perf_counter())
        try:
            yield
        finally:
            self.seconds, self._running = self._so_far(), None

    def begin_at(self, record: Mapping[str, Any]) -> None:
        """Go on from what the record of an interrupted run says."""
        before: Mapping[str, Any] = record.get("minutes", {}).get("measured", {})
        for stage in STAGES:
            if isinstance(before.get(stage), int | float):
                self.seconds[stage] = self.seconds.get(stage, 0.0) + 60 * before[stage]

    def compared(self, promised: Mapping[str, float | None]) -> dict[str, Any]:
        """Return what the record keeps: ``minutes``, promised and measured by stage.

        Nothing where no base was loaded to be trained: a finished run that is only scored anew keeps what it took.
        """
        seconds = self._so_far()
        if not seconds.keys() & {"load", "train"}:
            return {}
        measured = {stage: round(seconds[stage] / 60, 4) for stage in STAGES if stage in seconds}
        measured["total"] = round(sum(seconds.values()) / 60, 4)
        return {"minutes": {"promised": dict(promised), "measured": measured}}

    def _so_far(self) -> dict[str, float]:
        if self._running is None:
            return self.seconds
        stage, began = self._running
        return {**self.seconds, stage: self.seconds.get(stage, 0.0) + time.perf_counter() - began}
