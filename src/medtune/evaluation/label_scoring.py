"""Scores questions by the log-probability of each allowed answer: what would be chosen, and how calibrated."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.evaluation.recognition import NLI_LABELS, RELATIONS, answer_of, question_of
from medtune.evaluation.tally import Array
from medtune.evaluation.tasks.qa import QaTask
from medtune.plugins.contracts import Example, Prediction

__all__ = ["Bin", "Calibration", "allowed_answers", "calibrate", "choose", "label_probabilities"]

_BINS = 15
_OPTION = re.compile(r"(?:^|\s)([A-J])\s?[.):]\s")
_DECISIONS = ("yes", "no", "maybe")


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose confidence lies above ``low`` and at most at ``high``."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence and accuracy agree.

    Attributes:
        ece: expected calibration error: mean over rows of the gap between confidence and accuracy of the row's bin.
        accuracy: share of rows whose most probable answer is right.
        confidence: mean probability of the most probable answer.
        bins: the reliability curve; bins without rows are left out.
    """

    ece: float
    accuracy: float
    confidence: float
    bins: tuple[Bin, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def allowed_answers(example: Example) -> tuple[str, ...]:
    """Return the answers that a question allows, spelled as in training; empty for an open one.

    ``example.task`` says which task it is. The gold answer is only asked whether it is an option, a decision or a text.
    """
    if example.task == "nli":
        return NLI_LABELS
    if example.task == "relation":  # other sets of relations are scored by free answers only
        return RELATIONS if answer_of(example).strip() in RELATIONS else ()
    if example.task != "qa":
        return ()
    kind = QaTask().parse(answer_of(example), example).kind
    if kind == "choice":
        options = question_of(example).rpartition("###Options:")[2]
        return tuple(f"###Answer: OPTION {letter} IS CORRECT." for letter in dict.fromkeys(_OPTION.findall(options)))
    return tuple(f"###Answer: {decision}" for decision in _DECISIONS) if kind == "decision" else ()


def label_probabilities(log_probabilities: Array, tokens: Array | None = None) -> Array:
    """Normalise log-probabilities of the allowed answers, so that they sum to 1.

    Args:
        log_probabilities: [..., answers], in nats, of each whole answer.
        tokens: [..., answers] tokens of each answer: given, the mean per token is used, so that long answers are not
            at a disadvantage.
    """
    scores = log_probabilities if tokens is None else log_probabilities / tokens
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def choose(examples: Sequence[Example], log_probabilities: Sequence[Array]) -> list[Prediction]:
    """Return the most probable allowed answer to each example, as a prediction that can be scored like a free one.

    Args:
        examples: questions with allowed answers.
        log_probabilities: for each example an array [answers] in the order of ``allowed_answers``.
    """
    return [
        Prediction(example, allowed_answers(example)[int(np.argmax(scores))])
        for example, scores in zip(examples, log_probabilities, strict=True)
    ]


def calibrate(probabilities: Sequence[Array], gold: Sequence[int], bins: int = _BINS) -> Calibration:
    """Measure calibration of the most probable answers in bins of equal width.

    Args:
        probabilities: for each row an array [answers] that sums to 1; rows may have different numbers of answers.
        gold: place of each row's right answer.
        bins: number of bins.
    """
    confidence = np.array([row.max() for row in probabilities], dtype=np.float64)
    right = np.array(
        [int(row.argmax()) == place for row, place in zip(probabilities, gold, strict=True)], dtype=np.float64
    )
    if not len(confidence):
        return Calibration(0.0, 0.0, 0.0, ())
    edges = np.linspace(0.0, 1.0, bins + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found: list[Bin] = []
    for place in np.unique(places):
        chosen = places == place
        found.append(
            Bin(
                float(edges[place]),
                float(edges[place + 1]),
                int(chosen.sum()),
                float(confidence[chosen].mean()),
                float(right[chosen].mean()),
            )
        )
    gap = sum(each.rows * abs(each.confidence - each.accuracy) for each in found) / len(confidence)
    return Calibration(gap, float(right.mean()), float(confidence.mean()), tuple(found))
