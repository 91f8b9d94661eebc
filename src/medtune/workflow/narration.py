"""Tells a run as it goes: its plan and terms, its stages, a download and the training, on stderr."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from medtune.data.hub.download import Progress as Download
from medtune.errors.visible import visible
from medtune.plugins.plan import Plan
from medtune.plugins.plan_in_words import size_in_words
from medtune.workflow.terminal import terminal

__all__ = ["Narrator"]

_LINE_SECONDS = 10.0
"""Between two lines on a download, in a log."""


class Narrator:
    """Tells the stages of a run and shows a progress bar while it trains; a context manager."""

    def __init__(self) -> None:
        self._console = terminal(err=True)
        self._told = time.monotonic()
        self._downloading: tuple[Progress, TaskID] | None = None
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._stop_bar()

    def stage(self, sentence: str) -> None:
        """Say what begins."""
        self._stop_bar()
        self._told = time.monotonic()
        self._tell(sentence)

    def plan(self, plan: "Plan") -> None:
        """Say in a few lines how the run will be done, and under which terms."""
        self._stop_bar()
        for line in plan.lines():
            self._tell(line)

    def _tell(self, sentence: str) -> None:
        line = Text.assemble(("medtune", "bold"), " ", visible(sentence))
        self._console.print(line, highlight=False, soft_wrap=True)

    def download(self, progress: "Download") -> None:
        """Move a bar; where there is no terminal, write a line every ten seconds."""
        if self._console.is_terminal:
            if self._downloading is None:
                self._downloading = self._start_download()
            bar, task = self._downloading
            bar.update(task, description=visible(progress.repository), completed=progress.done, total=progress.total)
            return
        now = time.monotonic()
        if now - self._told >= _LINE_SECONDS and progress.seconds_left is not None:
            self._told = now
            self._console.print(_line_of(progress), highlight=False)

    def step(self, record: Mapping[str, Any]) -> None:
        """Move the bar; a logged record brings loss and tokens per second."""
        if self._progress is None or self._bar is None:
            self._start_bar(record["total_steps"])
        assert self._progress is not None  # noqa: S101 - set just above
        assert self._bar is not None  # noqa: S101
        figures: dict[str, Any] = {}
        if "loss" in record:
            speed = record.get("tokens_per_second")  # which trainers of plugins need not tell
            figures = {"loss": f"loss {record['loss']:.3f}", "speed": "" if speed is None else f"{speed:,.0f} tokens/s"}
            if not self._console.is_terminal:
                line = f"step {record['step']}/{record['total_steps']}  {figures['loss']}  {figures['speed']}"
                self._console.print(line.rstrip(), highlight=False)
        if "evaluation" in record:
            score = "undefined" if record["macro"] is None else f"{record['macro']:.3f}"
            line = f"step {record['step']}/{record['total_steps']}  score {score}"
            if record.get("held_out_loss") is not None:
                line += f"  loss of validation rows {record['held_out_loss']:.3f}"
            self._console.print(line, highlight=False)
        self._progress.update(self._bar, completed=record["step"], **figures)

    def _start_bar(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("training", total=total, loss="", speed="")
        self._progress.start()

    def _start_download(self) -> tuple[Progress, TaskID]:
        """Return a running bar with size, speed and time left."""
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        bar.start()
        return bar, bar.add_task("download", total=None)

    def _stop_bar(self) -> None:
        if self._downloading is not None:
            self._downloading[0].stop()
            self._downloading = None
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._bar = None


def _line_of(progress: Download) -> str:
    """Return a download as a line of a log."""
    left = progress.seconds_left or 0.0
    return (
        f"{progress.repository}: {size_in_words(progress.done)} of {size_in_words(progress.total)}, "
        f"{size_in_words(progress.per_second)}/s, about {left // 60:.0f} min {left % 60:02.0f} s left"
    )
