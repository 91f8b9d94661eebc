"""Stage four: what the base answers, scored before training, against what the adapter answers, and the report of both."""

from dataclasses import asdict
from typing import Any

from medtune.evaluation.comparison import compare
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.export.report import write_report
from medtune.machine.hardware import is_first_rank
from medtune.plugins.contracts import Loaded, Prediction, TrainResult
from medtune.runs.log import RunLog
from medtune.workflow.scoring import assess, scores_table
from medtune.workflow.state import RunState

__all__ = ["score", "score_base"]


def score_base(state: RunState, loaded: Loaded) -> Evaluation | None:
    """Score the base before its adapter is trained; None where nothing is scored, or on another rank than the first."""
    asked, prepared = state.asked, state.prepared
    if not (asked.spec.eval.enabled and prepared.validation and is_first_rank()):
        return None
    kept = asked.folder.evaluation_dir / "predictions-base.jsonl"
    tasks = asked.host.all("task")
    if kept.is_file():  # an interrupted run may have scored it before
        answers = read_predictions(kept, tasks)
        if [a.example.row_id for a in answers] == [e.row_id for e in prepared.validation]:
            return score_predictions(answers, tasks, seed=asked.spec.seed, overlapping=prepared.report.overlapping)
    asked.on_stage(f"scoring the base model on {len(prepared.validation)} rows")
    with loaded.base_only():
        return _assess(state, loaded, "base")[0]


def score(state: RunState, loaded: Loaded, base: Evaluation | None, result: TrainResult) -> None:
    """Score the tuned model where the base was, write the report, and finish the record."""
    asked, folder = state.asked, state.asked.folder
    facts: dict[str, Any] = {"result": {**asdict(result), "tokens_per_second": result.tokens_per_second}}
    if base is not None:
        asked.on_stage("scoring the tuned model")
        facts |= _score_tuned(state, loaded, base)
    record = folder.update(**facts, preparation=state.prepared.report.to_json())
    asked.on_stage("writing the report")
    write_report(folder.path, record={**record, "state": "finished"}, log=RunLog(folder.log_path).read())
    folder.update("finished")  # last, so that a run killed before has its report written when it is rerun


def _score_tuned(state: RunState, loaded: Loaded, base: Evaluation) -> dict[str, Any]:
    asked = state.asked
    tuned, answers = _assess(state, loaded, "tuned")
    tasks = asked.host.all("task")
    before = read_predictions(asked.folder.evaluation_dir / "predictions-base.jsonl", tasks)
    comparison = compare(base, tuned, before, answers, tasks=tasks, seed=asked.spec.seed)
    return {"scores": scores_table(base, tuned), "comparison": comparison.to_json()}


def _assess(state: RunState, loaded: Loaded, name: str) -> tuple[Evaluation, list[Prediction]]:
    asked, prepared = state.asked, state.prepared
    out = (asked.folder.evaluation_dir, name)
    return assess(loaded, prepared.validation, asked.spec, asked.host, out, prepared.report.overlapping)
