"""Stage three: the trainer fits the adapter, which is then kept in the run folder."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from medtune.data.prepare import trained_examples
from medtune.errors import MedtuneError, PluginError, RunInterruptedError
from medtune.machine.hardware import is_first_rank, seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Example, Job, Loaded, Trainer, TrainResult
from medtune.runs.log import RunLog
from medtune.runs.store import CheckpointStore
from medtune.workflow.checkpoints import RunCheckpoints
from medtune.workflow.held_out import Losses, in_log, rows_of, told
from medtune.workflow.kept_adapter import keep_adapter, write_beside
from medtune.workflow.saved_adapter import Trained, prove_saved, remember
from medtune.workflow.scoring import chosen_figure, rows_in_training, score_briefly
from medtune.workflow.state import RunRequest, RunState

__all__ = ["StopReason", "fit", "job_of"]

StopReason = Callable[[], str | None]
"""Asked after every update: why training should end now, or None."""


def fit(state: RunState, loaded: Loaded, stop_reason: StopReason) -> TrainResult:
    """Train, and keep the adapter once it is proved to be the trained one.

    Raises:
        UnsafeAdapterError: the saved adapter does not answer as the trained model; the checkpoints are kept.
        RunInterruptedError: a reason to stop came up; it says what the trainer saved.
    """
    asked = state.asked
    asked.on_stage(f"training for {state.plan.steps} steps")
    checkpoints = RunCheckpoints(state)
    job = replace(job_of(state, loaded, stop_reason), checkpoints=checkpoints)
    asked.note("running", error=None)
    seed_all(asked.spec.seed)
    trainer: Trainer = asked.host.find("trainer", asked.spec.train.backend)
    try:
        result = trainer.fit(job)
    except BaseException:
        with contextlib.suppress(MedtuneError):  # the error itself is the one that matters
            checkpoints.settle()  # else older checkpoints would go after the record was closed
        raise
    checkpoints.settle()
    if result.interrupted:
        asked.note("interrupted")
        saved = CheckpointStore(asked.folder.checkpoints_dir, 1).newest_step
        raise RunInterruptedError(str(asked.folder.path), result.steps, result.interrupted, saved)
    if is_first_rank():
        if result.stopped_early:
            asked.on_stage(f"training ended early: {result.stopped_early}")
        if job.on_evaluate and asked.spec.eval.keep_best and result.best_step is None:
            asked.on_stage(
                f"no score of {asked.spec.eval.keep_best} was defined; the adapter is that of the last update"
            )
        asked.on_stage("saving the adapter")
    with loaded.in_step():
        if is_first_rank():
            _save(state, loaded)
    return result


def job_of(state: RunState, loaded: Loaded, stop_reason: StopReason) -> Job:
    """Return what the trainer is given.

    Raises:
        SpecError: ``eval.keep_best`` names a task of which no validation row is.
    """
    asked = state.asked
    steps = total_steps(asked.spec, len(state.prepared.rows))
    log = _logging(asked, steps)
    return Job(
        spec=state.plan.settle(asked.spec),
        loaded=loaded,
        rows=state.prepared.rows,
        run_dir=asked.folder.path,
        total_steps=steps,
        resume_from=state.start.checkpoint,
        on_log=log,
        on_proof=lambda proof: _tell_proof(asked, proof),
        on_step=partial(_count, asked, steps),
        score_after=None if asked.leg is None else asked.leg.score_after,
        stop_reason=stop_reason,
        examples=_examples(state),
        **_scoring(state, loaded, log),
    )


def _count(asked: RunRequest, steps: int, step: int) -> None:
    if asked.leg is not None:
        asked.leg.step = step
    asked.on_step({"step": step, "total_steps": steps})


def _examples(state: RunState) -> Sequence[Example] | None:
    """Return the examples that are trained on, for a trainer that wants them."""
    asked = state.asked
    trainer: Trainer = asked.host.find("trainer", asked.spec.train.backend)
    if not getattr(trainer, "wants_examples", False):
        return None
    return trained_examples(asked.spec, asked.host, state.prepared.rows, rows=asked.rows)


def _tell_proof(asked: RunRequest, proof: Mapping[str, Any]) -> None:
    """Keep in the record how the loss is computed, and say why a faster way was passed over."""
    asked.note("running", proof=dict(proof))
    for way, reason in proof["passed_over"].items():
        asked.on_stage(f"passed over on the first micro-batch: {way}, since {reason}; trained by: {proof['route']}")


def _logging(asked: RunRequest, steps: int) -> Callable[[Mapping[str, Any]], None]:
    """Return what writes a record down and tells it."""
    written = RunLog(asked.folder.log_path)

    def log(record: Mapping[str, Any]) -> None:
        written.append(record)
        asked.tell("step_logged", record=record)
        if "step" in record:
            asked.on_step({**record, "total_steps": steps})

    return log


def _scoring(state: RunState, loaded: Loaded, log: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Return the fields of a job that score the adapter during training, none where nothing is to be scored."""
    spec, host, validation = state.asked.spec, state.asked.host, state.prepared.validation
    leg = state.asked.leg
    scores_leg = leg is not None and leg.score_after is not None
    if not (spec.eval.enabled and validation) or (spec.eval.every == "never" and not scores_leg):
        return {}
    rows = rows_in_training(validation if leg is None else leg.choosing(validation), spec, host)
    held = rows_of(spec, loaded.tokenizer, rows) if spec.eval.loss else None
    measured: dict[str, Any] = {}

    def measure(losses: Losses) -> None:
        if held is not None:
            measured.update(told(losses, held))

    def score(step: int) -> float | None:
        loss = dict(measured)
        measured.clear()  # what is told at one step says nothing of the next
        if held is not None and not loss:
            raise PluginError(f"trainer '{spec.train.backend}' told no loss at step {step} (job.on_held_out)")
        found = {} if leg is not None and leg.needs_loss_only(step) else score_briefly(loaded, rows, spec, host)
        log({"step": step, **found, **in_log(loss)})
        return chosen_figure(spec, found, loss) if found else None

    scoring: dict[str, Any] = {"on_evaluate": score}
    return scoring if held is None else {**scoring, "held_out": held.rows, "on_held_out": measure}


def _save(state: RunState, loaded: Loaded) -> None:
    """Write the adapter, prove it, and note by which list of files it is known again."""
    asked, trained = state.asked, remember(loaded)
    keep_adapter(asked, lambda path: _write_adapter(path, state, loaded, trained))


def _write_adapter(path: Path, state: RunState, loaded: Loaded, trained: Trained) -> None:
    """Write all files of the adapter; after it the model holds the adapter as it was saved."""
    if loaded.save_adapter is None:
        loaded.model.save_pretrained(path, safe_serialization=True)
    else:
        loaded.save_adapter(path)
    write_beside(path, state.asked, state.plan, loaded.tokenizer)
    if not prove_saved(path, loaded, trained):
        backend = state.asked.spec.lora.backend
        state.asked.on_stage(f"the saved adapter was not proved: backend '{backend}' cannot load one")
