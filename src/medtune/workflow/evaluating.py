"""Scores an opened run on its validation rows: the adapter, and beside it the base where that is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medtune.data.prepare import validation_examples
from medtune.evaluation.comparison import compare
from medtune.plugins.contracts import Loaded
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.runs.record.recording import recorded
from medtune.specs import RunSpec
from medtune.workflow.given_rows import Rows, rows_again
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.scoring import assess, keep_paraphrases, score_paraphrases
from medtune.workflow.validation_rows import not_apart, scorable

__all__ = ["EvaluationRequest", "evaluate_run"]


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What ``Run.evaluate`` was asked.

    Attributes:
        folder: of the run.
        record: its ``run.json``.
        spec: its spec.
        host: the plugins.
        loaded: base and adapter.
        on_stage: called with a sentence when something begins.
        baseline: whether the base is scored too.
        rows_per_source: validation rows per source; None as in the spec.
        paraphrases: how often the rows are asked.
        rows: the training rows that the run was given in Python.
    """

    folder: RunFolder
    record: Mapping[str, Any]
    spec: RunSpec
    host: PluginHost
    loaded: Loaded
    on_stage: Callable[[str], None]
    baseline: bool = False
    rows_per_source: int | None = None
    paraphrases: int = 1
    rows: Rows | None = None


def evaluate_run(asked: EvaluationRequest) -> dict[str, Any]:
    """Return what ``Run.evaluate`` returns."""
    with recorded(asked.folder.path, "evaluate", (f"{asked.folder.evaluation_dir.name}/",)):
        return _evaluated(asked)


def _evaluated(asked: EvaluationRequest) -> dict[str, Any]:
    host, loaded = asked.host, asked.loaded
    changes = {} if asked.rows_per_source is None else {"rows_per_source": asked.rows_per_source}
    spec = asked.spec.model_copy_with(eval=asked.spec.eval.model_copy_with(**changes))
    given = rows_again(asked.folder.path, asked.record, asked.rows)
    drawn = validation_examples(spec, host, rows=given)
    examples = scorable(drawn, asked.spec, loaded, host)
    folder, repeated = asked.folder.evaluation_dir, not_apart(examples, asked.spec, host, asked.record, given)
    asked.on_stage(f"scoring the adapter on {len(examples)} rows")
    tuned, answers = assess(loaded, examples, spec, host, AnswerFiles(folder, "tuned"), repeated)
    result = tuned.to_json() | ({"set_aside": len(drawn) - len(examples)} if len(examples) < len(drawn) else {})
    if asked.paraphrases > 1:  # the rows as they are are the first
        asked.on_stage(f"asking them in {asked.paraphrases - 1} other ways")
        again = score_paraphrases(loaded, examples, tuned, spec, host, asked.paraphrases)
        result |= keep_paraphrases(folder, len(examples), again)
    if not asked.baseline:
        return result
    asked.on_stage("scoring the base model on the same rows")
    with loaded.base_only():
        base, before = assess(loaded, examples, spec, host, AnswerFiles(folder, "base"), repeated)
    found = compare(base, tuned, before, answers, tasks=host.all("task"), seed=spec.seed)
    return {**result, "base": base.to_json(), "comparison": found.to_json()}
