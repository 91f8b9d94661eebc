"""Lets a loaded model answer validation examples, and scores the answers."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.encode import Encoder
from medtune.data.splits import draw_evenly
from medtune.errors import DataError, SpecError
from medtune.evaluation.comparison import Comparison, compare, unlike_row
from medtune.evaluation.paraphrases import reworded, spread
from medtune.evaluation.predict import predict
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import Evaluation, find_task, score_predictions
from medtune.machine.hardware import free_below_peak
from medtune.plugins.contracts import Completion, Example, GenerationRequest, Loaded, Prediction, Task
from medtune.plugins.host import PluginHost
from medtune.runs.durable import replace_file
from medtune.runs.manifest import file_digest
from medtune.specs import RunSpec
from medtune.workflow.answering import Answering
from medtune.workflow.constrained import score_constrained
from medtune.workflow.drafts import KeptCompletions, drafts_of
from medtune.workflow.held_out import measure, require_losses, rows_of
from medtune.workflow.kept_answers import AnswerFiles

__all__ = [
    "Generate",
    "answers_by",
    "assess",
    "chosen_figure",
    "keep_paraphrases",
    "require_choice",
    "rows_in_training",
    "score_briefly",
    "scores_table",
]

Generate = Callable[[Sequence[GenerationRequest]], Sequence[Completion]]
"""Requests -> their completions in order."""
_USABLE = 0.9
"""Share of what the peak of training leaves that is planned with: what generation takes is an estimate."""
_SOME_GIB = 0.001  # more than nothing, which a spec refuses: generation then takes the least that it can do with


def assess(
    loaded: Loaded,
    examples: Sequence[Example],
    spec: RunSpec,
    host: PluginHost,
    out: AnswerFiles,
    overlapping: Collection[str] = (),
) -> tuple[Evaluation, list[Prediction]]:
    """Answer ``examples`` greedily and score the answers.

    Args:
        loaded: model and tokenizer; inside ``loaded.base_only()`` it answers without its adapter.
        examples: validation examples.
        spec: the run.
        host: finds the generator and the tasks.
        out: where answers and scores are written.
        overlapping: ids of examples that also stand in the training rows; the others are scored once more apart.
    """
    answering, alpha = Answering(loaded, spec, host), spec.eval.alpha
    answer = answering.answer if alpha is None else answering.answer_surely
    began = time.perf_counter()
    kept = KeptCompletions(answer)
    predictions = answers_by(kept, answering.encoder, examples, spec, host)
    seconds = time.perf_counter() - began
    evaluation = score_predictions(predictions, host.all("task"), overlapping=overlapping, alpha=alpha)
    evaluation = replace(evaluation, drafts=kept.drafts_told(predictions))
    if alpha is not None and all(prediction.confidence is None for prediction in predictions):
        told = f"when to trust an answer is not known: eval.backend '{spec.eval.backend}' gives no log-probabilities"
        evaluation = replace(evaluation, warnings=[*evaluation.warnings, told])
    if spec.eval.constrained:
        evaluation = replace(evaluation, constrained=score_constrained(answering, examples, host.all("task")))
    if spec.eval.label_likelihood:
        evaluation = replace(evaluation, label_likelihood=_label_likelihood(answering, predictions, spec, host))
    if spec.eval.loss:
        evaluation = replace(evaluation, held_out_loss=measure(loaded, examples, spec, host))
    out.write(evaluation, predictions, seconds)
    return evaluation, predictions


def _label_likelihood(
    answering: Answering, predictions: Sequence[Prediction], spec: RunSpec, host: PluginHost
) -> dict[str, dict[str, Any]]:
    from medtune.evaluation.label_likelihood import score_label_likelihood

    if not answering.gives_probabilities:
        raise SpecError(
            f"eval.label_likelihood needs probabilities, which eval.backend '{spec.eval.backend}' cannot give"
        )
    return score_label_likelihood(
        predictions,
        prompt_ids=answering.encoder.prompt_ids,
        encode=answering.encoder.encode_batch,
        log_probabilities=answering.log_probabilities,
        tasks=host.all("task"),
        alpha=spec.eval.alpha,
    )


def score_briefly(loaded: Loaded, examples: Sequence[Example], spec: RunSpec, host: PluginHost) -> dict[str, Any]:
    """Answer and score examples during training: no intervals, nothing kept, no more memory than training takes.

    Returns:
        ``evaluation``: task -> its primary figure; ``macro``: their mean; ``scoring_seconds``: how long it took.
    """
    began = time.perf_counter()
    spec = _within_training(spec, host, loaded.device)
    scored = score_predictions(_answers(loaded, examples, spec, host), host.all("task"), intervals=False)
    return {
        "evaluation": {
            task: score.metrics[score.primary] for task, score in scored.tasks.items() if score.primary in score.metrics
        },
        "macro": scored.macro_score,
        "scoring_seconds": round(time.perf_counter() - began, 3),
    }


def _within_training(spec: RunSpec, host: PluginHost, device: str) -> RunSpec:
    """Return the spec with a bound on the memory of generation, unless it has one: what the peak of training leaves."""
    generator = host.find("generator", spec.eval.backend)
    if spec.eval.memory_gib is not None or getattr(generator, "loads_own_base", False):
        return spec
    free = free_below_peak(device)
    if free is None:
        return spec
    bound = max(free * _USABLE, _SOME_GIB)
    return spec.model_copy_with(eval=spec.eval.model_copy_with(memory_gib=bound))


def score_paraphrases(
    loaded: Loaded,
    examples: Sequence[Example],
    scored: Evaluation,
    spec: RunSpec,
    host: PluginHost,
    paraphrases: int,
) -> dict[str, dict[str, Any]]:
    """Answer and score examples again in other words.

    Args:
        loaded: model and tokenizer.
        examples: validation examples.
        scored: their scores as they are.
        spec: the run.
        host: finds the generator and the tasks.
        paraphrases: how many, the first one included.

    Returns:
        Task -> ``metric``, ``values`` (one for each paraphrase), ``lowest``, ``highest`` and ``mean``.
    """
    others = (_answers(loaded, again, spec, host) for again in reworded(examples, paraphrases)[1:])
    tasks = host.all("task")
    return spread([scored, *(score_predictions(found, tasks, intervals=False) for found in others)])


def keep_paraphrases(folder: Path, rows: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what ``score_paraphrases`` found of so many rows, in an evaluation folder, and return it as a result shows it."""
    answers = file_digest(AnswerFiles(folder, "tuned").predictions)  # beside which they stand, until others are given
    content = json.dumps({"rows": rows, "tuned_predictions": answers, "tasks": found}, indent=1).encode()
    replace_file(folder / "paraphrases.json", content, "the scores")
    return {"paraphrases": found, "wordings": found}  # the former key stays: keys are added, never renamed


def compare_kept(folder: Path, tasks: Sequence[Task], seed: int) -> Comparison | None:
    """Compare the answers kept in an evaluation folder; None when the base is missing or answered other rows.

    Args:
        folder: where ``assess`` left the predictions of both.
        tasks: the registered tasks.
        seed: the same seed gives the same figures.
    """
    files = [AnswerFiles(folder, "base").predictions, AnswerFiles(folder, "tuned").predictions]
    if not all(file.is_file() for file in files):
        return None
    base, tuned = (read_predictions(file, tasks) for file in files)
    if unlike_row(base, tuned):
        return None
    before, after = (score_predictions(found, tasks, intervals=False) for found in (base, tuned))
    return compare(before, after, base, tuned, tasks=tasks, seed=seed)


def require_choice(spec: RunSpec, host: PluginHost, tokenizer: Any, examples: Sequence[Example]) -> None:
    """Refuse scores and losses that could not be had, before the base is loaded.

    Raises:
        DataError: they need validation rows and there are none, or none fits into a row.
        SpecError: the trainer measures no loss, or no row is of the task that ``spec.eval.keep_best`` names.
    """
    asked = spec.eval
    named = {"keep_best": asked.keep_best, "patience": asked.patience, "loss": asked.loss}
    wanted = [f"eval.{name}" for name, value in named.items() if value]
    if not (asked.enabled and wanted):
        return
    if not examples:
        raise DataError(f"{', '.join(wanted)}: there are no validation rows; set data.validation to a split or a file")
    drawn = examples if asked.every == "never" else rows_in_training(examples, spec, host)
    if asked.loss:
        require_losses(spec, host)
        rows_of(spec, tokenizer, drawn)


def rows_in_training(examples: Sequence[Example], spec: RunSpec, host: PluginHost) -> list[Example]:
    """Draw the examples that are scored during training, equally many of each source.

    Raises:
        SpecError: none of them is of the task that ``spec.eval.keep_best`` names.
    """
    drawn, name = draw_evenly(examples, spec.eval.rows_in_training, spec.seed), spec.eval.keep_best
    tasks = host.all("task")
    found = (find_task(example, tasks) for example in drawn)
    known = ["macro", *sorted({task.name for task in found if task is not None}), *["loss"] * spec.eval.loss]
    if name is not None and name not in known:
        raise SpecError(
            f"eval.keep_best is '{name}', of which no validation row is scored; use one of {', '.join(known)}"
        )
    return drawn


def chosen_figure(spec: RunSpec, found: Mapping[str, Any], measured: Mapping[str, Any]) -> float | None:
    """Return the figure by which ``spec.eval`` chooses, the greater the better, None where it is undefined.

    Args:
        spec: the run.
        found: from ``score_briefly``.
        measured: the loss of the same rows, from ``held_out.told``; empty where it is not measured.
    """
    figure = spec.eval.keep_best
    if figure == "loss":
        return None if measured.get("loss") is None else -measured["loss"]
    value = found["macro"] if figure in (None, "macro") else found["evaluation"].get(figure)
    return None if value is None else float(value)


def answers_by(
    generate: Generate, encoder: Encoder, examples: Sequence[Example], spec: RunSpec, host: PluginHost
) -> list[Prediction]:
    """Return what ``generate`` answers to examples, as answers of the run are read and limited.

    Args:
        generate: requests -> their completions in order.
        encoder: of the run.
        examples: validation examples.
        spec: the run.
        host: finds the tasks.
    """
    tasks = host.all("task")
    asked = [encoder.placed(example) for example in examples]
    before = encoder.tokens_before(asked) if spec.eval.max_new_tokens == "auto" else 0  # tasks do not know of them

    def drafted(requests: Sequence[GenerationRequest]) -> list[GenerationRequest]:
        drafts = drafts_of(asked, encoder, tasks)
        limits = [request.max_new_tokens + before for request in requests]
        return [
            replace(request, max_new_tokens=limit, draft=draft)
            for request, limit, draft in zip(requests, limits, drafts, strict=True)
        ]

    return predict(
        asked,
        prompt_ids=encoder.prompt_ids,
        read=encoder.read,
        generate=lambda requests: generate(drafted(requests)),
        tasks=tasks,
        max_new_tokens=spec.eval.max_new_tokens,
    )


def _answers(loaded: Loaded, examples: Sequence[Example], spec: RunSpec, host: PluginHost) -> list[Prediction]:
    answering = Answering(loaded, spec, host)
    return answers_by(answering.answer, answering.encoder, examples, spec, host)


def scores_table(base: Evaluation, tuned: Evaluation) -> dict[str, dict[str, Any]]:
    """Return task -> metric, base, tuned and rows, for the run's one-line table."""
    return {
        task: {
            "metric": score.primary,
            "base": base.tasks[task].metrics[score.primary],
            "tuned": score.metrics[score.primary],
            "rows": score.rows_of.get(score.primary, score.rows),
        }
        for task, score in tuned.tasks.items()
        if task in base.tasks and all(score.primary in of.metrics for of in (score, base.tasks[task]))
    }
