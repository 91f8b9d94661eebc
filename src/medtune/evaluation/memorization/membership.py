"""Membership inference: whether a row's loss tells that it was trained on, as AUC and as true positives at few false ones.

The attacks: the loss (Yeom et al. 2018), the loss less that of the base (a reference model, as in Carlini et al. 2021 and
Mireshghallah et al. 2022), and Min-K% (Shi et al. 2024). True positives at 1 % false ones as Carlini et al. ("Membership
Inference Attacks From First Principles", 2022) ask for. Rows of one document are drawn together in the bootstrap.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.intervals import LEAST_UNITS, wilson
from medtune.evaluation.tally import Array

__all__ = ["ATTACKS", "Rows", "attack_scores", "judged", "separation"]

Places = npt.NDArray[np.intp]
ATTACKS = ("reference", "loss", "min_k")
"""Names of the attacks. Which one is the strongest depends on base and rows, so that all count."""

_FALSE = 0.01
_LEAST_OUTSIDERS = 100  # below which no share of false positives under 1 % can be seen
_RESAMPLES = 2000
_LEVEL = 100 * 0.05 / len(ATTACKS)
"""Per cent outside an interval: the intervals of all attacks hold together in 95 % (Bonferroni)."""
_Z = 2.393979800185872  # of a normal distribution, at that level
_LOWEST = 0.2  # of a row's tokens, for Min-K%
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Rows:
    """Scores of the rows of one side, and what is drawn together."""

    scores: Array
    units: Sequence[Hashable]


def attack_scores(tuned: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Return what each attack says of a row: the higher, the more it looks like one that was trained on.

    Args:
        tuned: log-probability of each token of its answer, in nats, under the tuned model.
        base: the same under the base.

    Returns:
        A score for each of ``ATTACKS``, and under ``base`` what the base alone says, which saw none of the rows.
    """
    own, before = math.fsum(tuned) / len(tuned), math.fsum(base) / len(base)
    lowest = sorted(tuned)[: max(1, math.ceil(_LOWEST * len(tuned)))]
    return {"reference": own - before, "loss": own, "min_k": math.fsum(lowest) / len(lowest), "base": before}


def separation(members: Rows, outsiders: Rows, seed: int) -> dict[str, Any]:
    """Return how well a score tells members from outsiders.

    Args:
        members: rows that were trained on.
        outsiders: rows that were not.
        seed: of the bootstrap.

    Returns:
        ``auc``, ``interval`` (None with fewer than ten units on a side), ``tpr`` (share of members found where at most 1 % of
        the outsiders are) and ``tpr_interval``, both None with fewer than 100 outsiders. Intervals are of 98.3 %, so that those
        of three attacks hold together in 95 %.
    """
    scores = np.concatenate([members.scores, outsiders.scores])
    side = np.concatenate([np.ones(len(members.scores)), np.zeros(len(outsiders.scores))])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    auc, tpr = _figures(side[order], 1 - side[order], ends)
    found: dict[str, Any] = {"auc": auc, "interval": None, "tpr": None, "tpr_interval": None}
    enough = min(len(set(members.units)), len(set(outsiders.units)))
    has_tpr = len(outsiders.scores) >= _LEAST_OUTSIDERS
    if has_tpr:
        found["tpr"] = tpr
    if enough >= LEAST_UNITS:
        drawn = np.array([_figures(*each, ends) for each in _resampled(members, outsiders, order, seed)])
        found["interval"] = _interval(auc, drawn[:, 0], enough)
        if has_tpr:
            found["tpr_interval"] = _interval(tpr, drawn[:, 1], len(set(members.units)))
    return found


def judged(control: Mapping[str, Any]) -> bool:
    """Whether two sets of rows are alike as far as the base says, which saw neither: its interval holds one half."""
    interval = control["interval"]
    return interval is None or interval[0] <= _EVEN <= interval[1]


def _figures(members: Array, outsiders: Array, ends: Places) -> tuple[float, float]:
    """Return AUC, and true positives at 1 % false ones, of weights in the order of falling scores; ties count half."""
    hit, wrong = np.cumsum(members)[ends], np.cumsum(outsiders)[ends]
    true, false = np.append(0.0, hit / hit[-1]), np.append(0.0, wrong / wrong[-1])
    auc = float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())
    return auc, float(true[false <= _FALSE + 1e-12][-1])


def _resampled(members: Rows, outsiders: Rows, order: Places, seed: int) -> list[tuple[Array, Array]]:
    """Return weights of all rows, in the order of falling scores, for units drawn anew on each side."""
    rng = np.random.default_rng([seed, 2])
    count, of_members = len(order), len(members.scores)
    drawn: list[tuple[Array, Array]] = []
    places = [_numbered(rows.units) for rows in (members, outsiders)]
    for _ in range(_RESAMPLES):
        one, other = (rng.multinomial(n, np.full(n, 1 / n))[index].astype(float) for index, n in places)
        weights = np.zeros((2, count))
        weights[0, :of_members], weights[1, of_members:] = one, other
        drawn.append((weights[0, order], weights[1, order]))
    return drawn


def _numbered(units: Sequence[Hashable]) -> tuple[Places, int]:
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(unit, len(numbers)) for unit in units], dtype=np.intp)
    return index, len(numbers)


def _interval(value: float, drawn: Array, units: int) -> list[float]:
    """Return the percentile interval; at 0 and 1, which every draw gives again, as wide as Wilson's of the units."""
    low, high = (float(bound) for bound in np.percentile(drawn, (_LEVEL / 2, 100 - _LEVEL / 2)))
    if value in (0.0, 1.0):
        least, most = wilson(value, units, _Z)
        low, high = min(low, least), max(high, most)
    return [min(low, value), max(high, value)]
