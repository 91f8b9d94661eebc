"""One training run from rows to report: its stages in order, and what becomes of it when it is stopped or fails."""

from contextlib import nullcontext
from dataclasses import replace

from medtune.errors import RunInterruptedError
from medtune.machine.hardware import first_rank_says, is_first_rank, rank, world_size
from medtune.machine.lost import Roll
from medtune.planning.make_plan import total_steps
from medtune.runs.record.recording import Recording
from medtune.runs.signals import StopNow, StopRequest
from medtune.runs.store import CheckpointStore
from medtune.workflow.locked import with_refusals
from medtune.workflow.run import Run
from medtune.workflow.run_record import RECORD_KEY, keeps_record, run_id_of, training_recorded, training_scope
from medtune.workflow.stages.again import again
from medtune.workflow.stages.fetch import fetch, pin
from medtune.workflow.stages.fit import fit
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import is_finished, prepare, require_own_checkpoint
from medtune.workflow.stages.score import score, score_base
from medtune.workflow.state import RunRequest, failure

__all__ = ["train"]


def train(asked: RunRequest) -> Run:
    """Do what is left of the run, whose lock the caller holds; failures are told to the plugins and kept."""
    require_own_checkpoint(asked)
    asked = pin(asked)
    finished = first_rank_says(is_first_rank() and is_finished(asked))
    run_id = first_rank_says(run_id_of(asked.folder) if is_first_rank() else "")
    record = Recording(asked.folder.path, "train", training_scope(asked))
    asked = replace(asked, run_id=run_id, record=record)
    with training_recorded(asked):
        return _done_again(asked) if finished else _done(asked)


def _done_again(asked: RunRequest) -> Run:
    if is_first_rank():
        if asked.folder.read().get("run_id") != asked.run_id or RECORD_KEY not in asked.folder.read():
            asked.folder.update(run_id=asked.run_id, **keeps_record(asked))
        again(asked)
    return Run.open(asked.folder.path, plugins=asked.host)


def _done(asked: RunRequest) -> Run:
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


def _stages(asked: RunRequest) -> None:
    """Go through the stages; those that are simply done again are stopped at once, training after its update."""
    step = 0
    try:
        with StopRequest(asked.spec.train.max_minutes, cancels=asked.cancels) as stop:
            with stop.at_once():
                is_here = set(asked.plan.download_bytes.values()) == {0}
                with asked.times.of("prepare") if is_here else nullcontext():
                    asked = fetch(asked)
                with asked.times.of("prepare"):
                    state = prepare(asked)
                step = state.start.step
                stop.check()
                if asked.leg is not None:
                    asked.leg.begin(total_steps(asked.spec, len(state.prepared.rows)), step)
                with asked.times.of("load"):
                    loaded = load(state)
                stop.check()
                with loaded.in_step(), asked.times.of("score"):
                    base = score_base(state, loaded)
                asked.keep("evaluation/", "run.json")
                stop.check()
            with asked.times.of("train"):
                result = fit(state, loaded, lambda: stop.reason or (asked.leg.reason if asked.leg else None))
            step = result.steps
            with loaded.in_step():
                if is_first_rank():
                    with stop.at_once(), asked.times.of("score"):
                        score(state, loaded, base, result)
                    _keep_times(asked)
    except StopNow as reached:
        raise _interrupted(asked, step, reached.reason) from None
    except RuntimeError as error:  # another process is gone while all of them answer
        reason = Roll(rank(), world_size()).reason(error, step)
        if reason is None:
            raise
        raise _interrupted(asked, step, reason) from error


def _interrupted(asked: RunRequest, step: int, reason: str) -> RunInterruptedError:
    """Keep the state of a run that ends between two updates, and return the error that says so."""
    _keep_times(asked)
    asked.note("interrupted")
    saved = CheckpointStore(asked.folder.checkpoints_dir, 1).newest_step
    return RunInterruptedError(str(asked.folder.path), step, reason, saved)


def _keep_times(asked: RunRequest) -> None:
    """Keep how long the stages took, so that a run that goes on adds to it and a finished one counts its report too."""
    if is_first_rank() and asked.folder.exists:
        asked.folder.update(**asked.times.compared(asked.folder.read()["plan"].get("minutes", {})))


def _tell_failure(asked: RunRequest, error: BaseException) -> None:
    """Keep the state and tell the plugins; neither may hide the error itself."""
    try:
        if isinstance(error, KeyboardInterrupt):  # the second Ctrl-C; a checkpoint may be older than the last step
            asked.note("interrupted")
        elif not isinstance(error, RunInterruptedError):
            asked.note("failed", error=failure(error))
    except Exception as second:  # noqa: BLE001 - the first error is the one that matters
        error.add_note(f"while this was kept: {type(second).__name__}: {second}")
    try:
        asked.tell("run_failed", spec=asked.spec, error=error)
        _keep_failures(asked)
    except Exception as second:  # noqa: BLE001 - as above
        error.add_note(f"while this was reported: {type(second).__name__}: {second}")


def _keep_failures(asked: RunRequest) -> None:
    """Note in the record how often observers failed, and what of the network was refused."""
    asked.observers.close()
    if not (is_first_rank() and asked.folder.exists):
        return
    if asked.observers.failures:
        asked.folder.update(observers=asked.observers.failures)
    if refused := with_refusals(asked.folder.read()):
        asked.folder.update(locked=refused)
