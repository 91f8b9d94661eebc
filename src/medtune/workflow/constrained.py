"""Scores answers that had to keep to the form that their task expects: only the choices in it are the model's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medtune.evaluation.predict import assigned
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import find_task, score_predictions
from medtune.plugins.contracts import AnswerForm, Draft, Example, GenerationRequest, Prediction, Task, TaskScore
from medtune.workflow.answering import Answering
from medtune.workflow.drafts import draft_of, form_of

__all__ = ["score_constrained"]


def score_constrained(
    answering: Answering, examples: Sequence[Example], tasks: Sequence[Task]
) -> Mapping[str, TaskScore]:
    """Answer examples in their form and score the answers; those whose task has no ``draft`` and ``choices`` are passed over.

    Args:
        answering: asks the model.
        examples: validation examples; the choices of a source are those of its gold answers.
        tasks: the registered tasks.

    Returns:
        Task -> score; ``details`` tell how many rows were passed over.

    Raises:
        SpecError: the generator cannot constrain answers.
    """
    given = [assigned(answering.encoder.placed(example), tasks) for example in examples]
    asked, requests = _asked(answering, given, tasks)
    if not asked:
        return {}
    completions = answering.answer_constrained(requests)
    predictions = [
        Prediction(example, answering.encoder.read(found, answer_of(example)).text.strip(), found.truncated)
        for example, found in zip(asked, completions, strict=True)
    ]
    scores = score_predictions(predictions, tasks).tasks
    rows = Counter(example.task for example in given)
    return {
        name: replace(score, details={**score.details, "passed_over": rows[name] - score.rows})
        for name, score in scores.items()
    }


def _asked(
    answering: Answering, examples: Sequence[Example], tasks: Sequence[Task]
) -> tuple[list[Example], list[GenerationRequest]]:
    """Return the examples that have a form, and what the model is asked of them."""
    sources: dict[tuple[str, str | None], list[Example]] = {}
    for example in examples:
        sources.setdefault((example.source, example.task), []).append(example)
    asked: list[Example] = []
    requests: list[GenerationRequest] = []
    for rows in sources.values():
        task, known = find_task(rows[0], tasks), dict[tuple[str, str, str], list[int]]()
        list_choices = getattr(task, "choices", None)
        choices = list_choices(rows) if list_choices else []
        for example in rows if choices else ():
            form = form_of(example, task)
            draft = draft_of(example, AnswerForm(form.fixed, choices), answering.encoder, known) if form else None
            if draft is not None:
                asked.append(example)
                requests.append(
                    GenerationRequest(answering.encoder.prompt_ids(example.messages[:-1]), _longest(draft), draft)
                )
    return asked, requests


def _longest(draft: Draft) -> int:
    """Return the most tokens of an answer in this form."""
    return sum(map(len, draft.fixed)) + (len(draft.fixed) - 1) * max(map(len, draft.choices), default=0)
