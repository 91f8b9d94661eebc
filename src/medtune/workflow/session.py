"""One call of ``train``: its turn in the process, its lock, who is told of it, and who may cancel it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from medtune.machine.forked import refuse_forked
from medtune.machine.hardware import is_first_rank
from medtune.machine.process_state import process_kept
from medtune.planning.base_config import local_config
from medtune.planning.make_plan import make_plan
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import Plan
from medtune.plugins.trackers import require_trackers
from medtune.runs.lock import RunLock
from medtune.runs.turn import TrainingTurn
from medtune.specs import RunSpec
from medtune.workflow.leg import Leg
from medtune.workflow.locked import begin
from medtune.workflow.progress import Progress, ProgressChoice, progress_of
from medtune.workflow.run import Run
from medtune.workflow.stage_times import StageTimes
from medtune.workflow.state import RunRequest

__all__ = ["Listener", "Session"]

Listener = Callable[[Any], None]

_LOG = logging.getLogger("medtune.run")


@dataclass(frozen=True, slots=True)
class Session:
    """What ``MedTuner.train`` was called with.

    Attributes:
        spec: the run.
        host: the plugins.
        rows: training rows instead of ``spec.data.source``.
        resume: "auto", "never" or a checkpoint folder of this run.
        listeners: kind of event (``on_step``, ``on_stage``, ``on_plan``, ``on_download``) -> the function for it, or None.
        quiet: whether events without a function are told nobody.
        progress: who is told of them otherwise.
        leg: how far the call goes, as a part of a sweep.
        cancel: set by any thread to save and stop after the update.
    """

    spec: RunSpec
    host: PluginHost
    rows: Iterable[Mapping[str, Any]] | None = None
    resume: str | Path = "auto"
    listeners: Mapping[str, Listener | None] = field(default_factory=dict[str, Listener | None])
    quiet: bool = False
    cancel: Event | None = None
    progress: ProgressChoice = "auto"
    leg: Leg | None = None

    def train(self) -> Run:
        """Do what is left of the run; what a training sets for the whole process is put back.

        Raises:
            ProcessBusyError: this process trains already; told before anything is touched.
            ForkedProcessError: this process was forked from one in which a model was used.
            RunLockedError: another process writes to the run folder; told before anything heavy is loaded.
        """
        from medtune.workflow.training import train

        begin(self.spec)
        refuse_forked()
        with ExitStack() as held:
            held.enter_context(TrainingTurn(self.spec.output_dir))
            cancels: list[Callable[[], bool]] = [] if self.cancel is None else [self.cancel.is_set]
            if is_first_rank():
                lock = held.enter_context(RunLock(Path(self.spec.output_dir).absolute()))
                cancels.append(lambda: lock.is_cancelled)
            told = self._told(held)
            held.enter_context(process_kept())
            times = StageTimes()
            with times.of("prepare"):
                plan = self._planned(told["on_plan"])
            told |= {"times": times, "cancels": tuple(cancels), "leg": self.leg}
            return train(RunRequest(self.spec, self.host, plan, self.rows, self.resume, **told))

    def _planned(self, on_plan: Listener) -> Plan:
        """Tell and enforce the plan; where the model's configuration is still to be fetched, that has the last word."""
        require_trackers(self.spec.train.report_to, self.host)
        plan = make_plan(self.spec, self.host)  # rows are counted when they are prepared
        is_known = bool(self.spec.model.path or local_config(self.spec))
        if is_known or plan.fits:
            on_plan(plan)
        if is_known:
            plan.require_fit()
        return plan

    def _told(self, held: ExitStack) -> dict[str, Any]:
        """Return whom each kind of event is told: the function given for it, else whom ``progress`` names."""
        is_silent = self.quiet or not is_first_rank()
        progress = held.enter_context(closing(progress_of("silent" if is_silent else self.progress)))
        held.enter_context(_warnings_told(progress))
        told: dict[str, Listener] = {
            "on_step": progress.step,
            "on_stage": progress.stage,
            "on_plan": progress.plan,
            "on_download": progress.download,
        }
        told |= {name: function for name, function in self.listeners.items() if function is not None}
        return {**told, "on_stage": _logged(told["on_stage"])}


def _logged(on_stage: Listener) -> Listener:
    """Return what writes a sentence to the log ``medtune.run`` and tells it."""

    def stage(sentence: str) -> None:
        _LOG.info("%s", sentence)
        on_stage(sentence)

    return stage


@contextmanager
def _warnings_told(progress: Progress) -> Iterator[None]:
    """Tell the warnings of medtune's log too, where nobody set up logging: else they would be lost."""
    tree = logging.getLogger("medtune")
    if any(not isinstance(handler, logging.NullHandler) for handler in (*tree.handlers, *logging.getLogger().handlers)):
        yield
        return
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: progress.stage(f"warning: {record.getMessage()}")  # type: ignore[method-assign]
    tree.addHandler(handler)
    try:
        yield
    finally:
        tree.removeHandler(handler)
