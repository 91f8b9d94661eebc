"""Scores the artifact's answers to the validation rows beside those of the adapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.answers import completion_of
from medtune.data.encode import Encoder
from medtune.data.splits import sample_by_source
from medtune.errors import DataError
from medtune.evaluation.comparison import compare
from medtune.evaluation.scoring import score_predictions
from medtune.plugins.contracts import Completion, Example, Exported, GenerationRequest, Loaded, Prediction
from medtune.plugins.host import PluginHost
from medtune.specs import RunSpec
from medtune.workflow.answering import Answering
from medtune.workflow.exporting.readings import read_again
from medtune.workflow.exporting.reference import Reference
from medtune.workflow.exporting.reload import Questions
from medtune.workflow.perfect_answers import sound
from medtune.workflow.scoring import answers_by

__all__ = ["TunedScores", "score_tuned", "scored_again"]


@dataclass(frozen=True, slots=True)
class TunedScores:
    """The adapter's answers to the validation rows, and what they are scored by."""

    predictions: Sequence[Prediction]
    examples: Sequence[Example]
    spec: RunSpec
    host: PluginHost


def score_tuned(loaded: Loaded, examples: Sequence[Example], spec: RunSpec, host: PluginHost) -> TunedScores:
    """Let the tuned model answer the validation rows that the run scores, as far as preparation kept them.

    Raises:
        DataError: there are none.
    """
    answering = Answering(loaded, spec, host)
    drawn = sample_by_source(examples, spec.eval.rows_per_source, spec.seed)
    kept = sound(drawn, answering.encoder, host.all("task")) if drawn else []
    if not kept:
        raise DataError(
            "there are no validation rows to score the artifact on; set data.validation, or leave --score out"
        )
    answers = answers_by(answering.answer, answering.encoder, kept, spec, host)
    return TunedScores(answers, kept, spec, host)


def scored_again(
    exported: Exported, folder: Path, reference: Reference, tuned: TunedScores, encoder: Encoder
) -> dict[str, Any]:
    """Return task -> what adapter and artifact score on the same rows, and their difference, with 95 % intervals."""

    def generate(requests: Sequence[GenerationRequest]) -> list[Completion]:
        asked = Questions([list(r.input_ids) for r in requests], [r.max_new_tokens for r in requests])
        found = read_again(exported, folder, reference, asked)
        return [
            completion_of(encoder.tokenizer, encoder.stop_ids, [*ids, *(encoder.stop_ids[:1] if ended else ())])
            for ids, ended in zip(found.ids, found.ended, strict=True)
        ]

    spec, tasks = tuned.spec, tuned.host.all("task")
    answers = answers_by(generate, encoder, tuned.examples, spec, tuned.host)
    before = score_predictions(tuned.predictions, tasks)
    after = score_predictions(answers, tasks)
    difference = compare(before, after, tuned.predictions, answers, tasks=tasks, seed=spec.seed).to_json()
    return {
        "adapter": _main_figures(before.to_json()),
        "artifact": _main_figures(after.to_json()),
        "difference": difference.get("tasks", {}),
        "rows": len(tuned.examples),
    }


def _main_figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    found = dict[str, Any]()
    for task, score in evaluation["tasks"].items():
        name = score["primary"]
        found[task] = {
            "metric": name,
            "value": score["metrics"][name],
            "interval": score["intervals"].get(name),
            "rows": score["rows"],
        }
    return found
