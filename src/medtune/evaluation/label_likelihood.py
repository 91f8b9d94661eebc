"""Scores closed questions once more by their allowed answers alone, beside the free answers to the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medtune.evaluation.label_scoring import allowed_answers, calibrate, choose, label_probabilities
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import score_predictions
from medtune.plugins.contracts import AnswerRequest, EncodedExample, Example, Message, Prediction, Task

__all__ = ["greedy_choice", "score_label_likelihood"]

Score = Callable[[Sequence[AnswerRequest]], Sequence[Sequence[Sequence[float]]]]


# One function: half of it says what it takes and returns.
def score_label_likelihood(
    predictions: Sequence[Prediction],
    *,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
    log_probabilities: Score,
    tasks: Sequence[Task],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Score closed questions by free decoding, by decoding held to the allowed answers, and by whole answers.

    Args:
        predictions: free answers, their ``example.task`` set; open questions are passed over.
        prompt_ids: messages -> the ids that generation is given.
        encode: examples as in training; an answer's tokens are the supervised ones, its end included.
        log_probabilities: of each token of each allowed answer, in nats.
        tasks: the registered tasks.
        seed: of the intervals.

    Returns:
        Task -> JSON values: ``rows``; the scores ``free``, ``constrained`` (greedy decoding that may only spell an
        allowed answer) and ``most_probable`` (the answer whose tokens have the greatest sum of log-probabilities);
        ``calibration`` of the latter, its probabilities normalised over the allowed answers without regard to length.
    """
    closed = [(prediction, allowed_answers(prediction.example)) for prediction in predictions]
    closed = [(prediction, allowed) for prediction, allowed in closed if allowed]
    if not closed:
        return {}
    requests = [_request(prediction.example, allowed, prompt_ids, encode) for prediction, allowed in closed]
    scores = log_probabilities(requests)
    by_task: dict[str, list[int]] = {}
    for index, (prediction, _) in enumerate(closed):
        by_task.setdefault(str(prediction.example.task), []).append(index)
    found: dict[str, dict[str, Any]] = {}
    for task, indices in sorted(by_task.items()):
        free = [closed[i][0] for i in indices]
        examples = [prediction.example for prediction in free]
        whole = [np.array([sum(tokens) for tokens in scores[i]]) for i in indices]
        held = [
            Prediction(closed[i][0].example, closed[i][1][greedy_choice(requests[i].answers, scores[i])])
            for i in indices
        ]
        systems = {"free": free, "constrained": held, "most_probable": choose(examples, whole)}
        gold = [(n, _gold(example)) for n, example in enumerate(examples)]
        known = [(whole[n], place) for n, place in gold if place is not None]
        found[task] = {
            "rows": len(free),
            **{name: _score_of(task, answers, tasks, seed) for name, answers in systems.items()},
            "calibration": calibrate([label_probabilities(w) for w, _ in known], [p for _, p in known]).to_json(),
        }
    return found


def greedy_choice(answers: Sequence[Sequence[int]], scores: Sequence[Sequence[float]]) -> int:
    """Return the answer that greedy decoding spells when only tokens that go on to an answer may be chosen.

    Args:
        answers: token ids, none the beginning of another (each has its end token).
        scores: log-probability of each token, aligned.
    """
    alive, place = list(range(len(answers))), 0
    while len(alive) > 1 and any(len(answers[i]) > place for i in alive):
        best = max((i for i in alive if len(answers[i]) > place), key=lambda i: scores[i][place])
        alive = [i for i in alive if len(answers[i]) > place and answers[i][place] == answers[best][place]]
        place += 1
    return alive[0]


def _request(
    example: Example,
    allowed: Sequence[str],
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
) -> AnswerRequest:
    prompt = prompt_ids(example.messages[:-1])
    last = example.messages[-1]
    versions = [
        replace(example, messages=[*example.messages[:-1], {"role": last["role"], "content": answer}])
        for answer in allowed
    ]
    answers = [
        [token for token, counts in list(zip(row.input_ids, row.supervised, strict=True))[len(prompt) :] if counts]
        for row in encode(versions)
    ]
    return AnswerRequest(prompt, answers)


def _gold(example: Example) -> int | None:
    """Return the place of the right answer, None when it is not among the allowed ones."""
    gold = answer_of(example).strip()
    fits = [(len(answer), place) for place, answer in enumerate(allowed_answers(example)) if gold.endswith(answer)]
    return max(fits)[1] if fits else None


def _score_of(task: str, answers: Sequence[Prediction], tasks: Sequence[Task], seed: int) -> Mapping[str, Any]:
    scored: Mapping[str, Any] = score_predictions(answers, tasks, seed=seed).to_json()["tasks"].get(task, {})
    return {key: scored[key] for key in ("primary", "metrics", "intervals", "failures") if key in scored}
