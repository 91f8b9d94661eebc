"""Trains one spec by Ray Train: workers that are lost come back, and the run goes on from its newest checkpoint."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune import Run, RunSpec
from medtune.errors import MedtuneError, RunIdleError, RunInterruptedError, SpecError, StorageError
from medtune_ray.cluster import Cluster, joined
from medtune_ray.errors import RayLockedError, WorkersFailedError
from medtune_ray.notes import Notes
from medtune_ray.worker import train_share

__all__ = ["Outcome", "VerdictError", "notes_folder", "refuse_locked", "train"]

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run that came to its end, and how often its workers had to be started again."""

    run: Run
    restarts: int


class VerdictError(MedtuneError):
    """What medtune said in a worker, with the exit code that it has there; ``kind`` names its class."""

    def __init__(self, kind: str, message: str, exit_code: int) -> None:
        self.kind, self.exit_code = kind, exit_code
        super().__init__(message)


def train(
    spec: RunSpec, workers: int = 1, *, max_failures: int = 3, cpu_only: bool = False, ray_dir: Path | None = None
) -> Outcome:
    """Train a spec by so many workers, and return the run; a run that was begun before is resumed.

    Called in the main thread, SIGTERM, SIGUSR1 and SIGINT save after the update and end the run.

    Args:
        spec: the run; its folder lies where every worker can write.
        workers: processes that train together, on a GPU each where the cluster has GPUs.
        max_failures: how often lost workers are started again.
        cpu_only: whether GPUs are left alone.
        ray_dir: folder for the files of a Ray that is started here; None is a new one, removed at the end.

    Raises:
        RayLockedError: the run is locked.
        SpecError: the cluster has fewer GPUs than workers.
        VerdictError: medtune refused or stopped the run in a worker.
        RunInterruptedError: it was stopped by a signal, and saved where it had trained.
        WorkersFailedError: workers were lost more often than ``max_failures``.
    """
    refuse_locked(spec)
    out = Path(spec.output_dir).absolute()
    notes = Notes(notes_folder(out))
    notes.clear()
    with joined(workers, ray_dir) as cluster:
        _require_gpus(cluster, workers, cpu_only=cpu_only)
        values = spec.model_copy_with(output_dir=str(out)).model_dump(mode="json", exclude_unset=True)
        config = {"spec": values, "notes": str(notes.folder), "directory": str(Path.cwd())}
        scaling = cluster.resources(workers, cpu_only=cpu_only)
        with _stopping(out, notes) as received:
            failure = _in_thread(lambda: _fit(config, scaling, max_failures, notes.folder))
    _raise_verdict(notes, out, received)
    if failure is not None:
        raise WorkersFailedError(str(out), max_failures, failure)
    return Outcome(Run.open(out), max(notes.begun - 1, 0))


def notes_folder(out: Path) -> Path:
    """Return the folder beside a run where Ray's state and the notes of its workers lie."""
    return out.with_name(f"{out.name}.ray")


def refuse_locked(spec: RunSpec) -> None:
    """Raise RayLockedError where spec or environment ask for a locked process."""
    if spec.locked or os.environ.get("MEDTUNE_LOCKED", "") not in ("", "0"):
        raise RayLockedError


def _require_gpus(cluster: Cluster, workers: int, *, cpu_only: bool) -> None:
    if not cpu_only and 0 < cluster.gpus < workers:
        raise SpecError(f"Ray has {cluster.gpus} GPUs for {workers} workers; take as many workers as GPUs, or --cpu")


def _fit(config: dict[str, Any], scaling: dict[str, Any], max_failures: int, storage: Path) -> str | None:
    """Let Ray train; return what ended it, None when it came to its end."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError  # pyright: ignore[reportMissingImports]
    from ray.train.torch import TorchTrainer  # pyright: ignore[reportMissingImports]

    trainer = TorchTrainer(
        train_share,
        train_loop_config=config,
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(
            name="train", storage_path=str(storage), failure_config=FailureConfig(max_failures=max_failures)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        return _told(error)
    return None


def _told(error: Exception) -> str:
    """Say what workers failed of: medtune's own words, or the kind of an error whose text may quote a row."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        known = getattr(failure, "cause", failure)
        words = str(known) if type(known).__name__ == "WorkerError" else type(known).__name__
        return f"{words} on worker {rank}"
    return type(error).__name__


def _in_thread(work: Callable[[], str | None]) -> str | None:
    """Do the work in a thread of its own, so that this one takes signals; Ray sets its own handlers in the main thread only."""
    results: list[str | None] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=target, name="ray-train", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _stopping(out: Path, notes: Notes) -> Generator[list[str]]:
    """Take signals as the wish to save and stop until the block ends; the list holds the name of the first."""
    received: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while received and not ended.wait(0.5):
            with suppress(RunIdleError, StorageError):  # nobody trains yet, or no longer
                Run.cancel(out)

    def note(number: int, _frame: object) -> None:
        if not received:
            received.append(signal.Signals(number).name)
            notes.ask_to_stop()
            threading.Thread(target=ask, name="cancel", daemon=True).start()

    is_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.signal(each, note) for each in _SIGNALS} if is_main else {}
    try:
        yield received
    finally:
        ended.set()
        for each, handler in before.items():
            signal.signal(each, handler)


def _raise_verdict(notes: Notes, out: Path, received: list[str]) -> None:
    """Raise what the workers said, or the signal that stopped them."""
    verdict = notes.verdict
    if verdict is not None and verdict["exit_code"] not in (75, 130):
        raise VerdictError(verdict["type"], verdict["message"], verdict["exit_code"])
    if received and not _is_finished(out):
        saved = _newest_step(out)
        raise RunInterruptedError(str(out), saved or 0, received[0], saved)
    if verdict is not None:
        raise VerdictError(verdict["type"], verdict["message"], verdict["exit_code"])


def _is_finished(out: Path) -> bool:
    with suppress(MedtuneError):
        return Run.open(out).state == "finished"
    return False


def _newest_step(out: Path) -> int | None:
    steps = [int(place.name.removeprefix("step-")) for place in (out / "checkpoints").glob("step-*") if place.is_dir()]
    return max(steps, default=None)
