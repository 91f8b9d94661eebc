"""Turns examples into predictions: the prompt of each, a sensible limit, the answer of a generator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from medtune.evaluation.scoring import find_task
from medtune.plugins.contracts import Completion, Example, GenerationRequest, Message, Prediction, Task

__all__ = ["predict"]

_UNMATCHED_TOKENS = 256
"""Longest answer to a row that no task scores; it is kept for reading only."""


def predict(
    examples: Sequence[Example],
    *,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    generate: Callable[[Sequence[GenerationRequest]], Sequence[Completion]],
    tasks: Sequence[Task],
    max_new_tokens: int | Literal["auto"] = "auto",
) -> list[Prediction]:
    """Let a model answer examples.

    Args:
        examples: rows with their gold answers; the answers are not shown to the model.
        prompt_ids: the encoder of training: messages -> the token ids that generation is given.
        generate: requests -> their completions in order.
        tasks: the registered tasks; each example's task says how long an answer may be.
        max_new_tokens: longest answer in tokens for every row instead.

    Returns:
        A prediction per example in order, its ``example.task`` set.

    Raises:
        PluginError: two plugins' tasks claim the same row.
    """
    assigned: list[Example] = []
    requests: list[GenerationRequest] = []
    for example in examples:
        task = find_task(example, tasks)
        ids = prompt_ids(example.messages[:-1])
        if max_new_tokens != "auto":
            limit = max_new_tokens
        else:
            limit = _UNMATCHED_TOKENS if task is None else task.max_new_tokens(example, len(ids))
        assigned.append(replace(example, task=task.name if task else example.task))
        requests.append(GenerationRequest(ids, limit))
    completions = generate(requests)
    return [
        Prediction(example, completion.text.strip(), completion.truncated)
        for example, completion in zip(assigned, completions, strict=True)
    ]
