"""Series of trials in the fault laboratory, each with a count of how many a run survived."""

import errno
import random
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.errors import MedtuneError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import verify_folder
from medtune.runs.store import CheckpointStore
from medtune.runs.verification import verify_all
from medtune.testing.faults import Fault, FaultLab, Outcome

__all__ = ["WRITE_ERRORS", "Prepare", "Series", "Tally", "damage_newest"]

WRITE_ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)
_MOST_RERUNS = 4
_STORAGE_EXIT, _INTERRUPTED_EXIT = 6, 75

Prepare = Callable[[Path], None]


@dataclass
class Tally:
    """How many trials of a series ended well, and a line for each that did not.

    Attributes:
        name: of the series.
        survived: trials that ended well.
        of: trials.
        failures: a sentence for each other trial.
        seconds: a measured time per trial, where the series measures one.
    """

    name: str
    survived: int = 0
    of: int = 0
    failures: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])

    def count(self, problem: str | None) -> None:
        """Count a trial; ``problem`` is None when it ended well."""
        self.of += 1
        if problem is None:
            self.survived += 1
        else:
            self.failures.append(problem)

    def percentile(self, share: float) -> float:
        """Return the time that this share of the trials stayed below."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return f"{self.name}: survived {self.survived} of {self.of}"


class Series:
    """Trials of one victim with the same options.

    Args:
        lab: an open laboratory, whose victim returns ``digest``, ``steps`` and ``log`` (as ``tiny_run`` does).
        options: of the victim.
        ranks: processes of a run.
        prepare: fills a fresh folder before each trial, for runs that do not start from nothing.
    """

    def __init__(
        self, lab: FaultLab, options: Mapping[str, Any], ranks: int = 1, prepare: Prepare | None = None
    ) -> None:
        self.lab, self.options, self.ranks, self._prepare = lab, dict(options), ranks, prepare
        with self._fresh() as folder:
            self.reference = self._run(folder)
        if self.reference.result is None:
            raise ValueError(f"the undisturbed run failed: {self.reference.error or self.reference.status}")

    def kill_everywhere(self, every: int = 1, offset: int = 0, until: int | None = None) -> Tally:
        """Kill before every file event, and tear every file that is written or synced."""
        tally = Tally(f"SIGKILL at file events, {self.ranks} process(es)")
        for at in range(offset, until or len(self.reference.events), every):
            faults = [Fault("kill", at)]
            if self.reference.events[at] in "ws":
                faults.append(Fault("tear", at))
            for fault in faults:
                with self._fresh() as folder:
                    self._run(folder, fault)
                    where = f"{fault.kind} at event {at}"
                    damaged = None if self._prepare else _damaged(folder, where)  # what was prepared may be damaged
                    tally.count(damaged or self._problem(folder, where))
        return tally

    def kill_at_random(self, trials: int, seed: int = 0) -> Tally:
        """Kill one process at a random time, rerun, kill again at random, until a rerun is left alone."""
        tally, draw = Tally(f"SIGKILL at random times, {self.ranks} process(es)"), random.Random(seed)
        for number in range(trials):
            with self._fresh() as folder:
                for _ in range(draw.choice((1, 1, 2, 3))):
                    after = draw.uniform(0, self.reference.seconds)
                    self._run(folder, Fault(signal="SIGKILL", after=after))
                tally.count(self._problem(folder, f"trial {number}"))
        return tally

    def fail_writes(self, every: int = 1, offset: int = 0, until: int | None = None) -> Tally:
        """Let every file event fail, once and for ever, with each error in turn."""
        tally = Tally("write errors")
        for at in range(offset, until or len(self.reference.events), every):
            turn = at // every
            once = Fault("fail_once", at, WRITE_ERRORS[turn % len(WRITE_ERRORS)])
            always = Fault("fail_always", at, WRITE_ERRORS[(turn + 1) % len(WRITE_ERRORS)])
            for fault in (once, always):
                with self._fresh() as folder:
                    outcome = self._run(folder, fault)
                    where = f"{fault.kind} {errno.errorcode[fault.errno]} at event {at} ({self.reference.events[at]})"
                    tally.count(_unclear(outcome, where) or _unloadable(folder, where) or self._problem(folder, where))
        return tally

    def stop_by_signal(self, trials: int, seed: int = 0, name: str = "SIGTERM") -> Tally:
        """Send a signal at a random time; the step must be finished, saved, and gone on from exactly."""
        tally, draw = Tally(f"{name} at random steps"), random.Random(seed)
        while tally.of < trials:
            with self._fresh() as folder:
                fault = Fault(signal=name, after=draw.uniform(0, self.reference.seconds))
                outcome = self._run(folder, fault)
                if outcome.status[0] in (0, -15):  # it came after the end, or before the run had begun
                    continue
                tally.seconds.append(outcome.seconds_to_exit or 0.0)
                where = f"{name} after {fault.after:.3f} s"
                tally.count(_undurable(outcome, folder, where) or self._problem(folder, where))
        return tally

    def resume_after(self, step: int, forget: str | None = None) -> str | None:
        """Interrupt after ``step`` updates and resume; return what differs from the undisturbed run, or None.

        ``forget`` names a generator that the resume does not restore, for a negative control.
        """
        with self._fresh() as folder:
            stopped = self._run(folder, extra={"stop_after": step})
            if stopped.status[0] != _INTERRUPTED_EXIT:
                return f"did not stop after step {step}: {stopped.status} {stopped.error}"
            return self._problem(folder, f"stop after step {step}", {"forget": forget} if forget else {})

    @contextmanager
    def _fresh(self) -> Generator[Path]:
        with tempfile.TemporaryDirectory(prefix="medtune-trial-") as name:
            if self._prepare is not None:
                self._prepare(Path(name))
            yield Path(name)

    def _run(self, folder: Path, fault: Fault | None = None, extra: Mapping[str, Any] | None = None) -> Outcome:
        return self.lab.run(folder, fault, {**self.options, **(extra or {})}, self.ranks)

    def _problem(self, folder: Path, where: str, extra: Mapping[str, Any] | None = None) -> str | None:
        """Rerun the same command until it is finished; return what is not as in the undisturbed run, or None."""
        outcome = self._run(folder, extra=extra)
        for _ in range(_MOST_RERUNS):
            if outcome.result is None:
                outcome = self._run(folder, extra=extra)
        if outcome.result is None:
            return f"{where}: never finished ({outcome.error or outcome.status})"
        for key in ("digest", "steps", "log"):
            if outcome.result[key] != self.reference.result[key]:
                return f"{where}: {key} differs from the undisturbed run"
        try:
            verify_folder(folder / "run" / "adapter")
        except MedtuneError as error:
            return f"{where}: {error}"
        return _damaged(folder, f"{where}, resumed", state="whole")


def damage_newest(template: Path, file: str = "state-00.safetensors") -> Prepare:
    """Return a ``prepare`` that copies a finished run whose newest checkpoint is damaged: its save is an overwrite."""

    def prepare(folder: Path) -> None:
        shutil.copytree(template / "run", folder / "run")
        newest = max((folder / "run" / "checkpoints").glob("step-*"))
        (newest / file).write_bytes(b"")

    return prepare


def _unclear(outcome: Outcome, where: str) -> str | None:
    """Return a problem unless the run went on or told in one sentence what could not be written."""
    if outcome.result is not None:
        return None
    message = str(outcome.error.get("message", ""))
    if outcome.status[0] != _STORAGE_EXIT or "cannot write" not in message or "\n" in message:
        return f"{where}: ended with {outcome.status} {outcome.error}"
    return None


def _unloadable(folder: Path, where: str) -> str | None:
    """Return a problem when a checkpoint of the folder does not verify."""
    for path in sorted((folder / "run" / "checkpoints").glob("step-*")):
        try:
            CheckpointStore.verify(path)
        except MedtuneError as error:
            return f"{where}: {error}"
    return None


def _damaged(folder: Path, where: str, state: str = "interrupted") -> str | None:
    """Return a problem when a run does not verify; after a kill its record may lag behind what was written."""
    if not RunFolder(folder / "run").exists:
        return None
    try:
        found = verify_all(RunFolder(folder / "run"))
    except MedtuneError as error:
        return f"{where}: {error}"
    return None if found.state in ("whole", state) else f"{where}: {found.sentence}"


def _undurable(outcome: Outcome, folder: Path, where: str) -> str | None:
    """Return a problem unless the step at which the run says it stopped is in the newest whole checkpoint."""
    if outcome.status[0] != _INTERRUPTED_EXIT:
        return f"{where}: exit {outcome.status} instead of {_INTERRUPTED_EXIT} ({outcome.error})"
    newest, _passed = CheckpointStore(folder / "run" / "checkpoints", 1).newest_whole()
    step = newest.step if newest else 0  # a signal before the first update leaves none to save
    if f"at step {step} " not in str(outcome.error["message"]):
        return f"{where}: the newest checkpoint is of step {step}, but {outcome.error['message']}"
    return None
