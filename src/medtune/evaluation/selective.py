"""When to trust an answer: how well confidence parts right answers from wrong ones, and above what few are wrong."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtune.evaluation.conformal import halves
from medtune.evaluation.intervals import effective_units
from medtune.evaluation.label_scoring import reliability
from medtune.evaluation.statistics import sum_by_unit
from medtune.evaluation.tally import Array

__all__ = ["LEVEL", "Judged", "auroc", "brier", "judge", "least_answered", "risk_coverage", "trust_threshold"]

LEVEL = 0.95
"""Chance, over the draw of the calibration rows, with which the error above the threshold is what it is said to be."""

_COVERAGES = tuple(i / 10 for i in range(1, 11))
"""Shares of rows answered that are tried, from the surest answers on."""
_POINTS = 40  # of a curve that is kept; more are not seen in a picture


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers with their confidence, and whether they are right.

    Attributes:
        confidence: [rows] between 0 and 1, greater for surer answers.
        right: [rows] 1 for right ones, 0 for wrong ones.
        units: what varies together, one per row, such as a document.
    """

    confidence: Array
    right: Array
    units: Sequence[Hashable]


def judge(rows: Judged, alpha: float, seed: int = 0) -> dict[str, Any]:
    """Return what confidence is worth, and the threshold above which answers can be trusted.

    Args:
        rows: answers of one system to one source or task.
        alpha: share of the trusted answers that may be wrong.
        seed: of the halves that the threshold is chosen and judged on.

    Returns:
        JSON values over all rows: ``rows``, ``right`` (share), ``auroc`` (None where all are right, or all wrong),
        ``brier``, ``ece`` and ``bins`` (see ``label_scoring.reliability``), ``risk_coverage`` (``area`` and ``points``
        [coverage, share wrong]); and ``abstention``: ``threshold`` (None where no confidence is enough), ``answered``
        and ``error`` on the judged half, ``calibrated_on`` and ``judged_on`` (rows), ``reason`` where there is no
        threshold, else empty.
    """
    calibration = reliability(rows.confidence, rows.right)
    coverage, risk = risk_coverage(rows.confidence, rows.right)
    shown = np.unique(np.linspace(0, len(coverage) - 1, min(_POINTS, len(coverage))).round().astype(np.intp))
    return {
        "rows": len(rows.right),
        "right": calibration.accuracy if len(rows.right) else None,
        "auroc": auroc(rows.confidence, rows.right),
        "brier": brier(rows.confidence, rows.right),
        "ece": calibration.ece if len(rows.right) else None,
        "bins": [*calibration.to_json()["bins"]],
        "risk_coverage": {
            "area": float(risk.mean()) if len(risk) else None,
            "points": [[round(float(coverage[i]), 4), round(float(risk[i]), 4)] for i in shown],
        },
        "abstention": _abstention(rows, alpha, seed),
    }


def auroc(confidence: Array, right: Array) -> float | None:
    """Return the chance that a right answer is surer than a wrong one, ties counted half; None without both."""
    positives = int(right.sum())
    negatives = len(right) - positives
    if not positives or not negatives:
        return None
    _values, places, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    above = float(ranks[right > 0].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def brier(confidence: Array, right: Array) -> float | None:
    """Return the mean squared gap between confidence and being right (Brier 1950); None without rows."""
    return float(((confidence - right) ** 2).mean()) if len(right) else None


def risk_coverage(confidence: Array, right: Array) -> tuple[Array, Array]:
    """Return, for the surest 1, 2, ... rows, the share of rows answered and the share of those that are wrong.

    Equally sure rows are taken together: within them the wrong ones count as evenly spread. The mean risk is the area
    under the curve (Geifman, Uziel and El-Yaniv 2019).
    """
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=np.inf) != 0) + 1
    wrong = np.cumsum(1 - right[order])
    answered = np.arange(1, len(right) + 1)
    spread = np.interp(answered, [0, *ends], [0, *wrong[ends - 1]]) if len(right) else wrong
    return answered / max(len(right), 1), spread / answered


def least_answered(alpha: float, level: float = LEVEL) -> int:
    """Return how many answers, none of them wrong, show that at most ``alpha`` of such answers are.

    >>> least_answered(0.1)
    29
    """
    return math.ceil(math.log(1 - level) / math.log(1 - alpha))


def trust_threshold(calibration: Judged, tried: Array, alpha: float, level: float = LEVEL) -> float | None:
    """Return the least confidence above which at most ``alpha`` of the answers are wrong; None where none is enough.

    With chance ``level`` over independent calibration rows, at most ``alpha`` of all answers with that confidence or more,
    to rows of the same kind, are wrong. Each tenth of coverage is tested by the exact binomial tail; Wiens' (2003)
    fallback procedure keeps the chance of any false finding, as in Angelopoulos et al. (2021), "Learn then Test". Rows of
    one document count as an effective number of rows, which makes the chance approximate.

    Args:
        calibration: rows whose answers are known to be right or wrong.
        tried: [rows] confidences of other rows, of which the thresholds to try are quantiles.
        alpha: share of trusted answers that may be wrong.
        level: the chance.
    """
    share = len(calibration.right)
    coverages = [each for each in _COVERAGES if each * share >= least_answered(alpha, level)]
    if not coverages or not len(tried):
        return None
    surest = np.sort(tried)[::-1]
    found, carried = None, 0.0
    for coverage in coverages:
        threshold = float(surest[math.ceil(coverage * len(surest)) - 1])
        allowed = (1 - level) / len(coverages) + carried
        is_shown = _chance(calibration, threshold, alpha) <= allowed
        carried = allowed if is_shown else 0.0
        found = threshold if is_shown else found
    return found


def _chance(rows: Judged, threshold: float, alpha: float) -> float:
    """Return the chance of so few wrong answers among those above a threshold, if ``alpha`` of all such were wrong."""
    taken = rows.confidence >= threshold
    counts = np.stack([1 - rows.right[taken], np.ones(int(taken.sum()))], axis=1)
    by_unit = sum_by_unit(counts, [unit for unit, is_taken in zip(rows.units, taken, strict=True) if is_taken])
    wrong, answered = by_unit[:, 0], by_unit[:, 1]
    units, total = len(by_unit), float(answered.sum())
    if not units:
        return 1.0
    rate = float(wrong.sum()) / total
    if units < total:
        total = min(total, _effective(wrong, answered, rate))
    trials = math.floor(total + 1e-9)
    return _binomial_tail(min(math.ceil(rate * total - 1e-9), trials), trials, alpha)


def _effective(wrong: Array, answered: Array, rate: float) -> float:
    """Return the effective number of rows of documents, as intervals have it."""
    units, mistaken = len(wrong), float((wrong > 0).sum())
    if units < 2:  # noqa: PLR2004 - one document varies by nothing
        return 1.0
    variance = float(((wrong - rate * answered) ** 2).sum()) / float(answered.sum()) ** 2 * units / (units - 1)
    return effective_units(rate, variance, mistaken, units)


def _binomial_tail(wrong: int, trials: int, share: float) -> float:
    """Return the chance of at most ``wrong`` of ``trials``, each with chance ``share``."""
    logs = [
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(wrong + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, logs)))


def _abstention(rows: Judged, alpha: float, seed: int) -> dict[str, Any]:
    first, second = halves(rows.units, seed)
    calibration = _some(rows, first)
    threshold = trust_threshold(calibration, rows.confidence[second], alpha)
    told: dict[str, Any] = {"calibrated_on": len(first), "judged_on": len(second), "threshold": threshold}
    if threshold is None:
        return {
            **told,
            "answered": 0.0,
            "error": None,
            "reason": _why_none(calibration, rows.confidence[second], alpha),
        }
    taken = rows.confidence[second] >= threshold
    error = float(1 - rows.right[second][taken].mean()) if taken.any() else None
    return {**told, "answered": float(taken.mean()), "error": error, "reason": ""}


def _why_none(calibration: Judged, tried: Array, alpha: float) -> str:
    """Say why there is no threshold: too few rows, or documents, where none would be even if all answers were right."""
    count, least = len(calibration.right), least_answered(alpha)
    if count < least:
        return f"too few rows: {count} to calibrate on of the {least} that an error of at most {alpha:g} needs"
    flawless = Judged(calibration.confidence, np.ones(count), calibration.units)
    if trust_threshold(flawless, tried, alpha) is not None:
        return f"no confidence shows an error of at most {alpha:g} on these rows"
    units = len({*calibration.units})
    what = f"documents: {units}" if units < count else f"rows: {count}"
    return f"too few {what} to calibrate on, which would show no error of at most {alpha:g} if all answers were right"


def _some(rows: Judged, chosen: NDArray[np.intp]) -> Judged:
    return Judged(rows.confidence[chosen], rows.right[chosen], [rows.units[i] for i in chosen])
