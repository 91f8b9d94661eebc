"""Intervals of figures between 0 and 1, from counts per row or document: Wilson's, on an effective number of them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from medtune.evaluation.tally import Array, Figures

__all__ = [
    "LEAST_UNITS",
    "Estimates",
    "difference_interval",
    "difference_of_shares",
    "effective_units",
    "estimate",
    "points_that_show",
    "t_quantile",
    "wilson",
]

LEAST_UNITS = 10
"""Rows or documents with something to find, below which no interval is given: simulated coverage is too low there."""

_Z = 1.959963984540054
_SMOOTHED = 2.0  # rows with a mistake that weigh as much as the prior, by which a row counts once
_SHARE = 0.7


class Estimates(NamedTuple):
    """Figures with their uncertainty.

    Attributes:
        intervals: figure -> its 95 % interval.
        units: figure -> rows or documents that say something about it.
    """

    intervals: Mapping[str, tuple[float, float]]
    units: Mapping[str, int]


class _Jackknife(NamedTuple):
    """What leaving out each distinct unit once gives."""

    each: Mapping[str, Array]
    left_out: Mapping[str, Array]
    repeats: Array


def wilson(value: float, units: float, z: float = _Z) -> tuple[float, float]:
    """Return Wilson's (1927) score interval of a share ``value`` of ``units``; ``units`` need be no whole number.

    >>> wilson(5 / 5, 5)[0] > 0.56
    True
    """
    centre, square = value + z * z / (2 * units), z * z / units
    half = z * math.sqrt(max(value * (1 - value), 0.0) / units + square / (4 * units))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return (0.0 if value <= 0 else max(low, 0.0)), (1.0 if value >= 1 else min(high, 1.0))


def difference_of_shares(first: int, of_first: int, second: int, of_second: int) -> tuple[float, float] | None:
    """Return Newcombe's (1998, method 10) 95 % interval of the difference of two shares; None where one is of nothing.

    >>> low, high = difference_of_shares(56, 70, 48, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    if not (of_first and of_second):
        return None
    one, other = first / of_first, second / of_second
    (low, high), (least, most) = wilson(one, of_first), wilson(other, of_second)
    value = one - other
    return value - math.hypot(one - low, most - other), value + math.hypot(high - one, other - least)


def t_quantile(degrees: float) -> float:
    """Return the 97.5 % quantile of Student's t, by Cornish and Fisher's expansion; right to 0.001 from 8 degrees on."""
    z, n = _Z, degrees
    first = (z**3 + z) / (4 * n)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + first + second + third


def points_that_show(rows: int, share: float = _SHARE) -> float:
    """Return how many points either way a share is known to from ``rows`` rows: what a sample of that size can show.

    >>> round(points_that_show(50))
    13
    """
    return 100 * _Z * math.sqrt(share * (1 - share) / rows)


def estimate(counts: Array, figures: Figures) -> Estimates:
    """Return the 95 % interval of each figure, where ten units or more say something about it.

    A figure that is right or wrong for each unit, counted once, has Wilson's interval. Any other (an F1, a mean of
    overlaps, or shares of documents with several rows) has it on the effective number of units that the jackknife's
    variance gives, made smaller by the quantile of t, as Korn and Graubard (1998) do for shares of clustered samples.

    Args:
        counts: [units, columns], a row for each row or document.
        figures: sums [..., columns] -> figures; nan where nothing is there to find.
    """
    if not len(counts):
        return Estimates({}, {})
    total = counts.sum(axis=0)
    found = _jackknife(counts, total, figures)
    point = {name: float(value) for name, value in figures(total).items()}
    intervals: dict[str, tuple[float, float]] = {}
    units: dict[str, int] = {}
    for name, value in point.items():
        says = ~np.isnan(found.each[name])
        units[name] = int(found.repeats[says].sum())
        if units[name] >= LEAST_UNITS and not math.isnan(value):
            bounded = min(max(value, 0.0), 1.0)  # sums of floats
            intervals[name] = _interval(
                bounded, found.each[name][says], found.left_out[name][says], found.repeats[says]
            )
    return Estimates(intervals, units)


def difference_interval(base: Array, tuned: Array, figures: Figures, figure: str) -> tuple[float, float] | None:
    """Return the 95 % interval of tuned minus base, unit by unit; None where fewer than ten units say anything.

    Two units in favour of either are added, as Agresti and Min (2005) do for paired shares, so that two systems with the
    same answers to few rows are not called the same for certain.

    Args:
        base: [units, columns] counts.
        tuned: the same of the other system.
        figures: sums [..., columns] -> figures.
        figure: the one to compare.
    """
    width = base.shape[1]
    both = np.concatenate([base, tuned], axis=1)

    def difference(sums: Array) -> Mapping[str, Array]:
        return {figure: figures(sums[..., width:])[figure] - figures(sums[..., :width])[figure]}

    total = both.sum(axis=0)
    value = float(difference(total)[figure])
    found = _jackknife(both, total, difference)
    says = ~np.isnan(figures(both[:, :width])[figure]) | ~np.isnan(figures(both[:, width:])[figure])
    units = int(says.sum())
    if units < LEAST_UNITS or math.isnan(value):
        return None
    variance = _variance(found.left_out[figure], found.repeats)
    shrunk = units / (units + 2)
    half = t_quantile(units - 1) * math.sqrt(variance * shrunk**2 + 1 / (units + 2) ** 2)
    return max(-1.0, value * shrunk - half), min(1.0, value * shrunk + half)


def _jackknife(counts: Array, total: Array, figures: Figures) -> _Jackknife:
    distinct, repeats = np.unique(counts, axis=0, return_counts=True)
    return _Jackknife(figures(distinct), figures(total - distinct), repeats.astype(np.float64))


def _interval(value: float, each: Array, left_out: Array, repeats: Array) -> tuple[float, float]:
    units = float(repeats.sum())
    is_share = bool(np.isin(each, (0.0, 1.0)).all()) and abs(float(each @ repeats) / units - value) < 1e-12  # noqa: PLR2004
    if is_share:
        return wilson(value, units)
    variance = _variance(left_out, repeats)
    mistaken = float(repeats[each < 1].sum() if value > 1 / 2 else repeats[each > 0].sum())
    return wilson(value, effective_units(value, variance, mistaken, units))


def effective_units(value: float, variance: float, mistaken: float, units: float) -> float:
    """Return of how many independent rows a share ``value`` would have this variance, as one that is itself estimated.

    Where that is more than the ``units`` (rows or documents, two at the least) that it comes from, and few of these have a
    mistake, it is drawn towards them.
    """
    effective = value * (1 - value) / variance if variance > 0 else units
    weight = mistaken / (mistaken + _SMOOTHED)
    effective = 1 / (weight / effective + (1 - weight) / units) if effective > units else effective
    return effective * (_Z / t_quantile(units - 1)) ** 2


def _variance(left_out: Array, repeats: Array) -> float:
    """Return the jackknife's variance; units without which nothing is left to say are passed over."""
    known = ~np.isnan(left_out)
    values, times = left_out[known], repeats[known]
    units = float(times.sum())
    if not units:
        return 0.0
    mean = float(values @ times) / units
    return float((units - 1) / units * (times @ (values - mean) ** 2))
