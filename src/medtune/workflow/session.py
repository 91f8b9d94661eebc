"""One call of ``train``: its turn in the process, its lock, who is told of it, and who may cancel it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from medtune.machine.hardware import is_first_rank
from medtune.machine.process_state import process_kept
from medtune.planning.make_plan import local_config, make_plan
from medtune.plugins.host import PluginHost
from medtune.plugins.plan import Plan
from medtune.runs.lock import RunLock
from medtune.runs.turn import TrainingTurn
from medtune.specs import RunSpec
from medtune.workflow.run import Run
from medtune.workflow.state import RunRequest

__all__ = ["Listener", "Session"]

Listener = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Session:
    """What ``MedTuner.train`` was called with.

    Attributes:
        spec: the run.
        host: the plugins.
        rows: training rows instead of ``spec.data.source``.
        resume: "auto", "never" or a checkpoint folder of this run.
        listeners: kind of event (``on_step``, ``on_stage``, ``on_plan``, ``on_download``) -> the function for it, or None.
        quiet: whether events without a function are told nobody; else they are told on stderr.
        cancel: set by any thread to save and stop after the update.
    """

    spec: RunSpec
    host: PluginHost
    rows: Iterable[Mapping[str, Any]] | None = None
    resume: str | Path = "auto"
    listeners: Mapping[str, Listener | None] = field(default_factory=dict[str, Listener | None])
    quiet: bool = False
    cancel: Event | None = None

    def train(self) -> Run:
        """Do what is left of the run; what a training sets for the whole process is put back.

        Raises:
            ProcessBusyError: this process trains already; told before anything is touched.
            RunLockedError: another process writes to the run folder; told before anything heavy is loaded.
        """
        from medtune.workflow.training import train

        with ExitStack() as held:
            held.enter_context(TrainingTurn(self.spec.output_dir))
            cancels: list[Callable[[], bool]] = [] if self.cancel is None else [self.cancel.is_set]
            if is_first_rank():
                lock = held.enter_context(RunLock(Path(self.spec.output_dir)))
                cancels.append(lambda: lock.is_cancelled)
            told = self._told(held)
            held.enter_context(process_kept())
            plan = self._planned(told["on_plan"])
            request = RunRequest(self.spec, self.host, plan, self.rows, self.resume, cancels=tuple(cancels), **told)
            return train(request)

    def _planned(self, on_plan: Listener) -> Plan:
        """Tell and enforce the plan; where the model's configuration is still to be fetched, that has the last word."""
        plan = make_plan(self.spec, self.host)  # rows are counted when they are prepared
        is_known = bool(self.spec.model.path or local_config(self.spec))
        if is_known or plan.fits:
            on_plan(plan)
        if is_known:
            plan.require_fit()
        return plan

    def _told(self, held: ExitStack) -> dict[str, Any]:
        """Return whom each kind of event is told: the function given for it, else stderr, or nobody."""
        if self.quiet or not is_first_rank():
            return {name: function or _ignore for name, function in self.listeners.items()}
        from medtune.workflow.narration import Narrator

        narrator = held.enter_context(Narrator())
        told: dict[str, Listener] = {
            "on_step": narrator.step,
            "on_stage": narrator.stage,
            "on_plan": narrator.plan,
            "on_download": narrator.download,
        }
        return {name: function or told[name] for name, function in self.listeners.items()}


def _ignore(_event: Any) -> None:
    """Take an event that nobody asked for."""
