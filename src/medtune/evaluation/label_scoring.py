"""Says how sure a model is of allowed answers, and how far being sure and being right agree."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.evaluation.tally import Array

__all__ = ["Bin", "Calibration", "calibrate", "label_probabilities", "reliability"]

_BINS = 15


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


def calibrate(probabilities: Sequence[Array], gold: Sequence[int], bins: int = _BINS) -> Calibration:
    """Measure calibration of the most probable answers.

    Args:
        probabilities: for each row an array [answers] that sums to 1; rows may have different numbers of answers.
        gold: place of each row's right answer.
        bins: number of bins.
    """
    right = [int(row.argmax()) == place for row, place in zip(probabilities, gold, strict=True)]
    return reliability(np.array([row.max() for row in probabilities]), np.array(right, dtype=np.float64), bins)


def reliability(confidence: Array, right: Array, bins: int = _BINS) -> Calibration:
    """Measure how far confidence and accuracy agree in bins of equal width (15 of 1/15; Guo et al. 2017).

    Args:
        confidence: [rows] between 0 and 1.
        right: [rows] 1 for right answers, 0 for wrong ones.
        bins: number of bins.
    """
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
