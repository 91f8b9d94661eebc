"""Stage four: what the base answers, scored before training, against what the adapter answers, and the report of both."""

from dataclasses import asdict, replace
from typing import Any

from medtune.evaluation.comparison import compare
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.export.report import write_report
from medtune.machine.hardware import is_first_rank
from medtune.plugins.contracts import Loaded, TrainResult
from medtune.runs.log import RunLog
from medtune.workflow.held_out import in_record
from medtune.workflow.kept_answers import AnswerFiles, circumstances_of, questions_of
from medtune.workflow.scoring import assess, scores_table
from medtune.workflow.state import RunState

__all__ = ["score", "score_base"]


def score_base(state: RunState, loaded: Loaded) -> Evaluation | None:
    """Score the base before its adapter is trained; None where nothing is scored, or on another rank than the first."""
    asked, prepared = state.asked, state.prepared
    if not (asked.spec.eval.enabled and prepared.validation and is_first_rank()):
        return None
    tasks, examples = asked.host.all("task"), prepared.validation
    circumstances = circumstances_of(state.plan.settle(asked.spec), loaded, examples)
    files = AnswerFiles(asked.folder.evaluation_dir, "base", circumstances)
    if asked.leg is not None:
        asked.leg.lend(files)
    kept = files.kept(tasks)  # an interrupted run may have scored it before
    if kept is not None:
        overlapping, alpha = prepared.report.overlapping, asked.spec.eval.alpha
        found = score_predictions(kept, tasks, overlapping=overlapping, alpha=alpha)
        return replace(found, held_out_loss=files.told("held_out_loss") or {})
    asked.on_stage(f"scoring the base model on {len(examples)} rows")
    with loaded.base_only():
        settled = state.plan.settle(asked.spec)
        return assess(loaded, examples, settled, asked.host, files, prepared.report.overlapping)[0]


def score(state: RunState, loaded: Loaded, base: Evaluation | None, result: TrainResult) -> None:
    """Score the tuned model where the base was, write the report, and finish the record."""
    asked, folder = state.asked, state.asked.folder
    told = {**asdict(result), "tokens_per_second": result.tokens_per_second}
    del told["proof"]  # in the record since training began
    facts: dict[str, Any] = {"result": told, "scored": questions_of(asked.spec, state.prepared.validation)}
    if base is not None:
        asked.on_stage("scoring the tuned model")
        facts |= _score_tuned(state, loaded, base)
    facts |= asked.times.compared(state.plan.minutes)  # all but the report itself, which shows them
    record = folder.update(**facts, preparation=state.prepared.report.to_json())
    asked.on_stage("writing the report")
    write_report(folder.path, record={**record, "state": "finished"}, log=RunLog(folder.log_path).read())
    folder.update("finished")  # last, so that a run killed before has its report written when it is rerun


def _score_tuned(state: RunState, loaded: Loaded, base: Evaluation) -> dict[str, Any]:
    asked, prepared = state.asked, state.prepared
    folder, tasks = asked.folder.evaluation_dir, asked.host.all("task")
    files, repeated = AnswerFiles(folder, "tuned"), prepared.report.overlapping
    spec = state.plan.settle(asked.spec)
    tuned, answers = assess(loaded, prepared.validation, spec, asked.host, files, repeated)
    before = read_predictions(AnswerFiles(folder, "base").predictions, tasks)
    comparison = compare(base, tuned, before, answers, tasks=tasks, seed=asked.spec.seed)
    losses = in_record(base.held_out_loss, tuned.held_out_loss)
    return {"scores": scores_table(base, tuned), "comparison": comparison.to_json(), **losses}
