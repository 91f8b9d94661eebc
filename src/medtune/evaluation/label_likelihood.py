"""Scores questions with allowed answers by the likelihood of each, beside the free answers to the same rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medtune.evaluation.allowed import allowed_answers
from medtune.evaluation.conformal import judge_sets
from medtune.evaluation.label_scoring import calibrate, label_probabilities
from medtune.evaluation.recognition import answer_of
from medtune.evaluation.scoring import contracts_of, score_predictions
from medtune.evaluation.selective import Judged, judge
from medtune.evaluation.tally import Array
from medtune.evaluation.units import lasting_units
from medtune.plugins.contracts import AnswerRequest, EncodedExample, Example, Message, Prediction, Task

__all__ = ["greedy_choice", "score_label_likelihood"]

Score = Callable[[Sequence[AnswerRequest]], Sequence[Sequence[Sequence[float]]]]


@dataclass(frozen=True, slots=True)
class _Question:
    """A question with its free answer, and the answers that it allows."""

    free: Prediction
    allowed: Sequence[str]

    @property
    def gold(self) -> int | None:
        """Place of the right answer, None when it is not among the allowed ones."""
        gold = answer_of(self.free.example).strip()
        fits = [(len(answer), place) for place, answer in enumerate(self.allowed) if gold.endswith(answer)]
        return max(fits)[1] if fits else None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, and the log-probability of each token of each allowed answer."""

    question: _Question
    request: AnswerRequest
    scores: Sequence[Sequence[float]]

    @property
    def whole(self) -> Array:
        """Log-probabilities of the allowed answers: [answers], in nats."""
        return np.array([sum(tokens) for tokens in self.scores])

    @property
    def constrained(self) -> Prediction:
        """What greedy decoding held to the allowed answers says."""
        return self._says(greedy_choice(self.request.answers, self.scores))

    @property
    def most_probable(self) -> Prediction:
        """The allowed answer with the greatest probability."""
        return self._says(int(self.whole.argmax()))

    def _says(self, place: int) -> Prediction:
        return Prediction(self.question.free.example, self.question.allowed[place])


def score_label_likelihood(
    predictions: Sequence[Prediction],
    *,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
    log_probabilities: Score,
    tasks: Sequence[Task],
    alpha: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Score by free decoding, by decoding held to the allowed answers, and by the likelihood of whole answers.

    Args:
        predictions: free answers, their ``example.task`` set; questions without allowed answers are passed over.
        prompt_ids: messages -> the ids that generation is given.
        encode: examples as in training; an answer's tokens are the supervised ones, its end included.
        log_probabilities: of each token of each allowed answer, in nats.
        tasks: the registered tasks; medtune's own know the labels of each source.
        alpha: share of trusted answers, and of sets, that may be wrong; None judges neither.

    Returns:
        Task -> JSON values: ``rows``; ``passed_over``, rows of the task that are open questions; the scores ``free``,
        ``constrained`` (greedy decoding that may only spell an allowed answer) and ``most_probable`` (the answer whose
        tokens have the greatest sum of log-probabilities); ``calibration`` of the latter, its probabilities normalised
        over the allowed answers without regard to length. With ``alpha`` also ``trust`` (``selective.judge``) and ``sets``
        (``conformal.judge_sets``), and both under ``sources`` for each source.
    """
    contracts = contracts_of(tasks)
    asked = [_Question(p, allowed_answers(p.example, contracts)) for p in predictions]
    closed = [question for question in asked if question.allowed]
    if not closed:
        return {}
    requests = [_request(question, prompt_ids, encode) for question in closed]
    by_task: dict[str, list[_Asked]] = {}
    for each in map(_Asked, closed, requests, log_probabilities(requests)):
        by_task.setdefault(str(each.question.free.example.task), []).append(each)
    left = Counter(str(question.free.example.task) for question in asked if not question.allowed)
    return {
        task: {**_score_task(task, own, tasks, alpha), "passed_over": left[task]}
        for task, own in sorted(by_task.items())
    }


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


def _score_task(task: str, asked: Sequence[_Asked], tasks: Sequence[Task], alpha: float | None) -> dict[str, Any]:
    systems = {
        "free": [each.question.free for each in asked],
        "constrained": [each.constrained for each in asked],
        "most_probable": [each.most_probable for each in asked],
    }
    known = [(label_probabilities(each.whole), place) for each in asked if (place := each.question.gold) is not None]
    found = {
        "rows": len(asked),
        **{name: _score_of(task, answers, tasks) for name, answers in systems.items()},
        "calibration": calibrate([row for row, _ in known], [place for _, place in known]).to_json(),
    }
    if alpha is None:
        return found
    by_source: dict[str, list[_Asked]] = {}
    for each in asked:
        by_source.setdefault(each.question.free.example.source, []).append(each)
    named = {source: _trusted(rows, alpha) for source, rows in sorted(by_source.items()) if source}
    return {**found, **_trusted(asked, alpha), "sources": named}


def _trusted(asked: Sequence[_Asked], alpha: float) -> dict[str, Any]:
    """Judge the most probable answers, and the sets of probable ones; an answer that may not be given is never right."""
    units = lasting_units([each.question.free for each in asked])
    probabilities, gold = [label_probabilities(each.whole) for each in asked], [each.question.gold for each in asked]
    right = [float(row.argmax() == place) for row, place in zip(probabilities, gold, strict=True)]
    rows = Judged(np.array([row.max() for row in probabilities]), np.array(right), units)
    known = [(i, place) for i, place in enumerate(gold) if place is not None]
    sets = judge_sets([probabilities[i] for i, _ in known], [p for _, p in known], [units[i] for i, _ in known], alpha)
    return {"trust": judge(rows, alpha), "sets": sets}


def _request(
    question: _Question,
    prompt_ids: Callable[[Sequence[Message]], list[int]],
    encode: Callable[[Sequence[Example]], Sequence[EncodedExample]],
) -> AnswerRequest:
    messages = question.free.example.messages
    prompt, role = prompt_ids(messages[:-1]), messages[-1]["role"]
    versions = [
        replace(question.free.example, messages=[*messages[:-1], {"role": role, "content": answer}])
        for answer in question.allowed
    ]
    answers = [
        [token for token, counts in list(zip(row.input_ids, row.supervised, strict=True))[len(prompt) :] if counts]
        for row in encode(versions)
    ]
    return AnswerRequest(prompt, answers)


def _score_of(task: str, answers: Sequence[Prediction], tasks: Sequence[Task]) -> Mapping[str, Any]:
    scored: Mapping[str, Any] = score_predictions(answers, tasks).to_json()["tasks"].get(task, {})
    return {key: scored[key] for key in ("primary", "metrics", "intervals", "failures") if key in scored}
