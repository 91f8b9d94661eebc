"""Lets a loaded model answer validation examples, scores the answers, and keeps both in the run folder."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.prepare import encoder_of
from medtune.errors import SpecError
from medtune.evaluation.predict import predict
from medtune.evaluation.predictions import write_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.plugins.contracts import AnswerScorer, Example, Loaded, Prediction
from medtune.plugins.host import PluginHost
from medtune.runs.durable import attempt, replace_file, replace_written
from medtune.specs import RunSpec

__all__ = ["assess", "scores_table"]


def assess(
    loaded: Loaded,
    examples: Sequence[Example],
    spec: RunSpec,
    host: PluginHost,
    out: tuple[Path, str],
    overlapping: Collection[str] = (),
) -> tuple[Evaluation, list[Prediction]]:
    """Answer ``examples`` greedily and score the answers.

    Args:
        loaded: model and tokenizer; with ``out[1] == "base"`` it answers without its adapter.
        examples: validation examples.
        spec: the run.
        host: finds the generator and the tasks.
        overlapping: ids of examples that also stand in the training rows; the others are scored once more apart.
        out: evaluation folder and "base" or "tuned": where ``NAME.json`` and ``predictions-NAME.jsonl`` are written.
    """
    folder, name = out
    generator = host.find("generator", spec.eval.backend)
    tasks = host.all("task")
    predictions = predict(
        examples,
        prompt_ids=encoder_of(spec, loaded.tokenizer).prompt_ids,
        generate=lambda requests: generator.generate(loaded, requests, spec.eval),
        tasks=tasks,
        max_new_tokens=spec.eval.max_new_tokens,
    )
    evaluation = score_predictions(predictions, tasks, seed=spec.seed, overlapping=overlapping)
    if spec.eval.closed_answers:
        evaluation = replace(evaluation, closed=_closed(loaded, predictions, spec, host))
    attempt(lambda: folder.mkdir(parents=True, exist_ok=True), "the scores", folder)
    kept = folder / f"predictions-{name}.jsonl"
    replace_written(kept, lambda path: write_predictions(path, predictions), "the predictions")
    # Last: a run that is resumed takes the predictions as whole when the scores are there.
    replace_file(folder / f"{name}.json", json.dumps(evaluation.to_json(), indent=1).encode(), "the scores")
    return evaluation, predictions


def _closed(
    loaded: Loaded, predictions: Sequence[Prediction], spec: RunSpec, host: PluginHost
) -> dict[str, dict[str, Any]]:
    from medtune.evaluation.closed_answers import score_closed

    generator = host.find("generator", spec.eval.backend)
    if not isinstance(generator, AnswerScorer):
        raise SpecError(
            f"eval.closed_answers needs probabilities, which eval.backend '{spec.eval.backend}' cannot give"
        )
    encoder = encoder_of(spec, loaded.tokenizer)
    return score_closed(
        predictions,
        prompt_ids=encoder.prompt_ids,
        encode=encoder.encode_batch,
        log_probabilities=lambda requests: generator.log_probabilities(loaded, requests, spec.eval),
        tasks=host.all("task"),
        seed=spec.seed,
    )


def scores_table(base: Evaluation, tuned: Evaluation) -> dict[str, dict[str, Any]]:
    """Return task -> metric, base, tuned and rows, for the run's one-line table."""
    return {
        task: {
            "metric": score.primary,
            "base": base.tasks[task].metrics[score.primary],
            "tuned": score.metrics[score.primary],
            "rows": score.rows,
        }
        for task, score in tuned.tasks.items()
        if task in base.tasks
    }
