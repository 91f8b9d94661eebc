"""Scores questions with allowed answers by the likelihood of each, beside the free answers to the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medtune.evaluation.label_scoring import allowed_answers, calibrate, choose, label_probabilities
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tally import Array
from medtune.plugins.contracts import AnswerRequest, EncodedExample, Example, Message, Prediction, Task

__all__ = ["greedy_choice", "score_label_likelihood"]

Score = Callable[[Sequence[AnswerRequest]], Sequence[Sequence[Sequence[float]]]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with allowed answers: its free answer, and the log-probability of each token of each allowed one."""

    free: Prediction
    request: AnswerRequest
    scores: Sequence[Sequence[float]]

    @property
    def whole(self) -> Array:
        """Log-probabilities of the allowed answers: [answers], in nats."""
        return np.array([sum(tokens) for tokens in self.scores])

    @property
    def constrained(self) -> Prediction:
        """What greedy decoding held to the allowed answers says."""
        answer = allowed_answers(self.free.example)[greedy_choice(self.request.answers, self.scores)]
        return Prediction(self.free.example, answer)


def score_label_likelihood(
    predictions: Sequence[Prediction],
    *,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
    log_probabilities: Score,
    tasks: Sequence[Task],
) -> dict[str, dict[str, Any]]:
    """Score by free decoding, by decoding held to the allowed answers, and by the likelihood of whole answers.

    Args:
        predictions: free answers, their ``example.task`` set; questions without allowed answers are passed over.
        prompt_ids: messages -> the ids that generation is given.
        encode: examples as in training; an answer's tokens are the supervised ones, its end included.
        log_probabilities: of each token of each allowed answer, in nats.
        tasks: the registered tasks.

    Returns:
        Task -> JSON values: ``rows``; the scores ``free``, ``constrained`` (greedy decoding that may only spell an
        allowed answer) and ``most_probable`` (the answer whose tokens have the greatest sum of log-probabilities);
        ``calibration`` of the latter, its probabilities normalised over the allowed answers without regard to length.
    """
    free = [prediction for prediction in predictions if allowed_answers(prediction.example)]
    if not free:
        return {}
    requests = [_request(prediction.example, prompt_ids, encode) for prediction in free]
    by_task: dict[str, list[_Asked]] = {}
    for asked in map(_Asked, free, requests, log_probabilities(requests)):
        by_task.setdefault(str(asked.free.example.task), []).append(asked)
    return {task: _score_task(task, asked, tasks) for task, asked in sorted(by_task.items())}


def greedy_choice(answers: Sequence[Sequence[int]], scores: Sequence[Sequence[float]]) -> int:
    """Return the answer that greedy decoding spells when only tokens that go on to an answer may be chosen.

    Args:
        answers: token ids, none the prefix of another (each has its end token).
        scores: log-probability of each token, aligned.
    """
    alive, place = list(range(len(answers))), 0
    while len(alive) > 1 and any(len(answers[i]) > place for i in alive):
        best = max((i for i in alive if len(answers[i]) > place), key=lambda i: scores[i][place])
        alive = [i for i in alive if len(answers[i]) > place and answers[i][place] == answers[best][place]]
        place += 1
    return alive[0]


def _score_task(task: str, asked: Sequence[_Asked], tasks: Sequence[Task]) -> dict[str, Any]:
    whole = [each.whole for each in asked]
    systems = {
        "free": [each.free for each in asked],
        "constrained": [each.constrained for each in asked],
        "most_probable": choose([each.free.example for each in asked], whole),
    }
    gold = [_gold(each.free.example) for each in asked]
    known = [
        (label_probabilities(scores), place) for scores, place in zip(whole, gold, strict=True) if place is not None
    ]
    return {
        "rows": len(asked),
        **{name: _score_of(task, answers, tasks) for name, answers in systems.items()},
        "calibration": calibrate([row for row, _ in known], [place for _, place in known]).to_json(),
    }


def _request(
    example: Example,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
) -> AnswerRequest:
    prompt = prompt_ids(example.messages[:-1])
    last = example.messages[-1]
    versions = [
        replace(example, messages=[*example.messages[:-1], {"role": last["role"], "content": answer}])
        for answer in allowed_answers(example)
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


def _score_of(task: str, answers: Sequence[Prediction], tasks: Sequence[Task]) -> Mapping[str, Any]:
    scored: Mapping[str, Any] = score_predictions(answers, tasks).to_json()["tasks"].get(task, {})
    return {key: scored[key] for key in ("primary", "metrics", "intervals", "failures") if key in scored}
