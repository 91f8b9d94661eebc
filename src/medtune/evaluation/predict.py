"""Turns examples into predictions: the prompt of each, a sensible limit, the answer of a generator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from medtune.data.final_answer import final_answer
from medtune.evaluation.predictions import with_final_gold
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import find_task
from medtune.plugins.contracts import Completion, Example, GenerationRequest, Message, Prediction, Task

__all__ = ["assigned", "predict", "read_text"]

_UNMATCHED_TOKENS = 256
"""Longest answer to a row that no task scores; it is kept for reading only."""


def read_text(completion: Completion, gold: str) -> Completion:
    """Return a completion without the reasoning that its text shows; an encoder's ``read`` knows the template besides."""
    found = final_answer(completion.text, gold)
    return replace(completion, text=found.text, truncated=completion.truncated or found.unfinished)


def predict(
    examples: Sequence[Example],
    *,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    generate: Callable[[Sequence[GenerationRequest]], Sequence[Completion]],
    tasks: Sequence[Task],
    max_new_tokens: int | Literal["auto"] = "auto",
    read: Callable[[Completion, str], Completion] = read_text,
) -> list[Prediction]:
    """Let a model answer examples.

    Args:
        examples: rows with their gold answers; the answers are not shown to the model.
        prompt_ids: the encoder of training: messages -> the token ids that generation is given.
        generate: requests -> their completions in order.
        tasks: the registered tasks; each example's task says how long an answer may be.
        max_new_tokens: longest answer in tokens for every row instead.
        read: completion and gold answer -> the completion with the answer alone, as the encoder of training reads it.

    Returns:
        A prediction per example in order, its ``example.task`` set.

    Raises:
        PluginError: two plugins' tasks claim the same row.
    """
    given = [assigned(example, tasks) for example in examples]
    requests: list[GenerationRequest] = []
    for example in given:
        task = find_task(example, tasks)
        ids = prompt_ids(example.messages[:-1])
        if max_new_tokens != "auto":
            limit = max_new_tokens
        else:
            limit = _UNMATCHED_TOKENS if task is None else task.max_new_tokens(example, len(ids))
        requests.append(GenerationRequest(ids, limit))
    completions = generate(requests)
    return [_prediction(e, read(found, answer_of(e))) for e, found in zip(given, completions, strict=True)]


def assigned(example: Example, tasks: Sequence[Task]) -> Example:
    """Return an example as it is scored: its gold answer alone, and the name of its task.

    Raises:
        PluginError: two plugins' tasks claim the row.
    """
    final = with_final_gold(example)
    task = find_task(final, tasks)
    return replace(final, task=task.name if task else final.task)


def _prediction(example: Example, answer: Completion) -> Prediction:
    return Prediction(example, answer.text.strip(), answer.truncated, answer.confidence)
