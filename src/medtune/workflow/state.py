"""What a run is asked to do, and what its first stage found out: the values that the stages hand on, all frozen."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.data.prepare import Prepared
from medtune.errors import MedtuneError
from medtune.machine.hardware import is_first_rank
from medtune.plugins.guards import place_of
from medtune.plugins.host import PluginHost
from medtune.plugins.observers import Observers
from medtune.plugins.plan import Plan
from medtune.runs.folder import RunFolder, State
from medtune.runs.record.recording import Recording
from medtune.specs import RunSpec
from medtune.workflow.leg import Leg
from medtune.workflow.stage_times import StageTimes

__all__ = ["RunRequest", "RunState", "Start", "Tell", "failure"]

Tell = Callable[[Any], None]
"""Takes an event of a run: a record of a step, or a sentence."""


def failure(error: BaseException) -> dict[str, str]:
    """Return what the record says of an error: of one that is not medtune's the place alone, since its text may quote a row."""
    text = str(error) if isinstance(error, MedtuneError) else f"at {place_of(error)}; its text is not kept"
    return {"type": type(error).__name__, "message": text}


def _ignore(_event: Any) -> None:
    """Take an event that nobody asked for."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is asked of a run; the same in all of its stages.

    Attributes:
        spec: the run as the user wrote it.
        host: the plugins.
        plan: what was decided before the rows were read.
        rows: training rows instead of ``spec.data.source``.
        resume: "auto", "never" or a checkpoint folder of this run.
        on_step: called after every update, and with every record that names a step.
        on_stage: called with a sentence when something begins.
        on_plan: called with a plan that replaces the one before.
        on_download: called with how far a download is.
        pins: which commit of each repository is read, as JSON values.
        observers: counts their failures.
        run_id: of this run, the same when it goes on; made when it is begun.
        record: where it is recorded what the run writes; None for what is none.
        cancels: each says whether somebody asked to cancel the run; called after every update and between stages.
        times: how long its stages take.
        leg: how far this call goes and what it shares with other runs, as a part of a sweep; None for a run of its own.
        home: folder that a relative ``spec.output_dir`` begins at.
    """

    spec: RunSpec
    host: PluginHost
    plan: Plan
    rows: Iterable[Mapping[str, Any]] | None = None
    resume: str | Path = "auto"
    on_step: Tell = _ignore
    on_stage: Tell = _ignore
    on_plan: Tell = _ignore
    on_download: Tell = _ignore
    pins: tuple[Mapping[str, Any], ...] | None = None
    observers: Observers = field(default_factory=Observers)
    run_id: str = ""
    record: Recording | None = None
    cancels: tuple[Callable[[], bool], ...] = ()
    times: StageTimes = field(default_factory=StageTimes)
    leg: Leg | None = None
    home: Path = field(default_factory=Path.cwd)

    @property
    def folder(self) -> RunFolder:
        """The run folder, wherever the process goes meanwhile."""
        return RunFolder(self.home / self.spec.output_dir)

    @property
    def spec_values(self) -> dict[str, Any]:
        """The spec as JSON values, as the record holds it."""
        return self.spec.model_dump(mode="json")

    def tell(self, hook: str, **facts: Any) -> None:
        """Tell the plugins that observe runs; none of them can end this one."""
        self.observers.tell(self.host, hook, {**facts, "run_id": self.run_id}, self.on_stage)

    def note(self, state: State, **facts: Any) -> None:
        """Change the record, where there is one, from the first rank."""
        if is_first_rank() and self.folder.exists:
            self.folder.update(state, **facts)

    def keep(self, *names: str, facts: Mapping[str, Any] | None = None) -> None:
        """Record what was written so far of these files, each a name or a folder with "/" behind it."""
        if self.record is not None:
            self.record.keep(*names, facts=facts)


@dataclass(frozen=True, slots=True)
class Start:
    """Where training begins.

    Attributes:
        checkpoint: a verified checkpoint to go on from, None for a run from nothing.
        step: updates that were done before.
    """

    checkpoint: Path | None = None
    step: int = 0


@dataclass(frozen=True, slots=True)
class RunState:
    """A run whose rows are prepared and whose record is open; what all later stages rest on.

    Attributes:
        asked: what the run is asked to do.
        plan: what was decided with the rows counted; what the run follows.
        prepared: training and validation rows.
        start: where training begins.
    """

    asked: RunRequest
    plan: Plan
    prepared: Prepared
    start: Start
