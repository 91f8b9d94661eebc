"""Sets of allowed answers that hold the right one as often as they say: split conformal prediction."""

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtune.evaluation.tally import Array

__all__ = ["Indices", "halves", "judge_sets", "least_rows", "prediction_set", "set_threshold"]

Indices = NDArray[np.intp]


def halves(units: Sequence[Hashable], seed: int = 0) -> tuple[Indices, Indices]:
    """Part rows at random: those to calibrate on, and those to judge on; rows of one unit stay together, in whatever order.

    Args:
        units: what varies together, one per row, such as a document.
        seed: the same seed gives the same halves.
    """
    places = {unit: place for place, unit in enumerate(sorted({*units}, key=repr))}
    of_row = np.array([places[unit] for unit in units], dtype=np.intp)
    drawn = np.random.default_rng([seed, 2]).permutation(len(places))
    first = np.zeros(len(places), dtype=bool)
    first[drawn[: (len(places) + 1) // 2]] = True
    calibrates = first[of_row] if len(of_row) else np.zeros(0, dtype=bool)
    return np.flatnonzero(calibrates), np.flatnonzero(~calibrates)


def least_rows(alpha: float) -> int:
    """Return how many calibration rows sets need at the least; fewer can only allow every answer.

    >>> least_rows(0.1)
    9
    """
    exact = Fraction(str(alpha))
    return math.ceil(1 / exact) - 1


def set_threshold(right: Array, alpha: float) -> float | None:
    """Return the least probability of an answer that belongs to a set; None where there are too few rows.

    An answer's nonconformity is one minus its probability; the threshold is one minus the ``ceil((n + 1)(1 - alpha))``-th
    smallest of the right answers (Sadinle, Lei and Wasserman 2019; Angelopoulos and Bates 2023).

    Args:
        right: [rows] probability of the right answer to each calibration row.
        alpha: share of sets that may miss the right answer.
    """
    rank = math.ceil((len(right) + 1) * (1 - Fraction(str(alpha))))
    return float(np.sort(right)[len(right) - rank]) if rank <= len(right) else None


def prediction_set(probabilities: Array, threshold: float) -> NDArray[np.bool_]:
    """Say of each answer [..., answers] whether it belongs to the set."""
    return np.asarray(probabilities >= threshold)


def judge_sets(
    probabilities: Sequence[Array], gold: Sequence[int], units: Sequence[Hashable], alpha: float, seed: int = 0
) -> dict[str, Any]:
    """Calibrate sets on one half of the rows and judge them on the other.

    Args:
        probabilities: for each row an array [answers]; rows may have different numbers of answers.
        gold: place of each row's right answer.
        units: what varies together, one per row.
        alpha: share of sets that may miss the right answer.
        seed: of the halves.

    Returns:
        JSON values: ``alpha``; ``threshold``; on the judged half ``coverage`` (sets that hold the right answer), ``mean_size``,
        ``single`` and ``empty`` (shares of sets with one answer, and with none); ``calibrated_on`` and ``judged_on``
        (rows); ``reason`` where there are no sets, else empty.
    """
    first, second = halves(units, seed)
    threshold = set_threshold(np.array([probabilities[i][gold[i]] for i in first]), alpha)
    told: dict[str, Any] = {
        "alpha": alpha, "calibrated_on": len(first), "judged_on": len(second), "threshold": threshold
    }  # fmt: skip
    absent = dict.fromkeys(("coverage", "mean_size", "single", "empty"))
    if threshold is None:
        return {**told, **absent, "reason": f"too few rows: {len(first)} of the {least_rows(alpha)} that sets need"}
    if not len(second):
        return {**told, **absent, "reason": "too few rows: none is left to judge the sets on"}
    sets = [prediction_set(probabilities[i], threshold) for i in second]
    sizes = np.array([int(each.sum()) for each in sets])
    held = [bool(each[gold[i]]) for each, i in zip(sets, second, strict=True)]
    figures = {"coverage": held, "mean_size": sizes, "single": sizes == 1, "empty": sizes == 0}
    return {**told, **{name: float(np.mean(values)) for name, values in figures.items()}, "reason": ""}
