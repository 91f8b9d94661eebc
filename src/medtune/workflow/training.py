"""One training run from rows to report: its stages in order, and what becomes of it when it is stopped or fails."""

from dataclasses import replace
from uuid import uuid4

from medtune.errors import MedtuneError, RunInterruptedError
from medtune.machine.hardware import first_rank_says, is_first_rank
from medtune.plugins.guards import place_of
from medtune.runs.signals import StopNow, StopRequest
from medtune.runs.store import CheckpointStore
from medtune.workflow.locked import with_refusals
from medtune.workflow.run import Run
from medtune.workflow.stages.again import again
from medtune.workflow.stages.fetch import fetch, pin
from medtune.workflow.stages.fit import fit
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import is_finished, prepare, require_own_checkpoint
from medtune.workflow.stages.score import score, score_base
from medtune.workflow.state import RunRequest

__all__ = ["train"]


def train(asked: RunRequest) -> Run:
    """Do what is left of the run, whose lock the caller holds; failures are told to the plugins and kept."""
    require_own_checkpoint(asked)
    asked = pin(asked)
    if first_rank_says(is_first_rank() and is_finished(asked)):
        if is_first_rank():
            again(asked)
        return Run.open(asked.folder.path, plugins=asked.host)
    asked = replace(asked, run_id=first_rank_says(_run_id(asked) if is_first_rank() else ""))
    try:
        asked.tell("run_started", spec=asked.spec, plan=asked.plan)
        _stages(asked)
        run = Run.open(asked.folder.path, plugins=asked.host)
    except BaseException as error:
        _tell_failure(asked, error)
        raise
    asked.tell("run_finished", run=run)
    _keep_failures(asked)
    return run


def _run_id(asked: RunRequest) -> str:
    """Return the id that the run began with, a new one for one that begins."""
    kept = asked.folder.read().get("run_id") if asked.folder.exists else None
    return kept if isinstance(kept, str) and kept else uuid4().hex


def _stages(asked: RunRequest) -> None:
    """Go through the stages; those that are simply done again are stopped at once, training after its update."""
    step = 0
    try:
        with StopRequest(asked.spec.train.max_minutes, cancels=asked.cancels) as stop:
            with stop.at_once():
                state = prepare(fetch(asked))
                step = state.start.step
                stop.check()
                loaded = load(state)
                stop.check()
                base = score_base(state, loaded)
                stop.check()
            result = fit(state, loaded, lambda: stop.reason)
            step = result.steps
            if is_first_rank():
                with stop.at_once():
                    score(state, loaded, base, result)
    except StopNow as reached:
        asked.note("interrupted")
        saved = CheckpointStore(asked.folder.checkpoints_dir, 1).newest_step
        raise RunInterruptedError(str(asked.folder.path), step, reached.reason, saved) from None


def _tell_failure(asked: RunRequest, error: BaseException) -> None:
    """Keep the state and tell the plugins; neither may hide the error itself."""
    try:
        if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C; a checkpoint may be older than the last step
            asked.note("interrupted")
        elif not isinstance(error, RunInterruptedError):
            asked.note("failed", error={"type": type(error).__name__, "message": _told(error)})
    except Exception as second:  # noqa: BLE001 - the first error is the one that matters
        error.add_note(f"while this was kept: {type(second).__name__}: {second}")
    try:
        asked.tell("run_failed", spec=asked.spec, error=error)
        _keep_failures(asked)
    except Exception as second:  # noqa: BLE001 - as above
        error.add_note(f"while this was reported: {type(second).__name__}: {second}")


def _told(error: BaseException) -> str:
    """Return what the record says of an error: of one that is not medtune's the place alone, since its text may quote a row."""
    return str(error) if isinstance(error, MedtuneError) else f"at {place_of(error)}; its text is not kept"


def _keep_failures(asked: RunRequest) -> None:
    """Note in the record how often observers failed, and what of the network was refused."""
    asked.observers.close()
    if not (is_first_rank() and asked.folder.exists):
        return
    if asked.observers.failures:
        asked.folder.update(observers=asked.observers.failures)
    if refused := with_refusals(asked.folder.read()):
        asked.folder.update(locked=refused)
