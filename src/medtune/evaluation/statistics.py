"""Uncertainty of figures: bootstrap intervals over rows or documents, and paired tests of two systems."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtune.evaluation.tally import Array, Figures, Tally
from medtune.plugins.contracts import TaskScore

__all__ = ["Difference", "Sampling", "bootstrap_intervals", "holm", "paired_difference", "summarise"]

_COVERAGE = (2.5, 97.5)
_BLOCK = 4_000_000
"""Random numbers held at once (32 MB)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How uncertainty is estimated.

    Attributes:
        resamples: bootstrap resamples; 0 computes no interval.
        permutations: random exchanges of the two systems' answers in a paired test.
        seed: the same seed gives the same figures.
    """

    resamples: int = 1000
    permutations: int = 9999
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Tuned minus base of one figure, on the same rows.

    Attributes:
        value: the difference.
        interval: its 95 % bootstrap interval.
        p_value: chance of a difference at least as large, in either direction, if it did not matter which of the two
            systems gave which answer (approximate randomisation).
    """

    value: float
    interval: tuple[float, float]
    p_value: float


def summarise(
    tally: Tally,
    chosen: Sequence[int] | None = None,
    units: Sequence[Hashable] | None = None,
    sampling: Sampling | None = None,
) -> TaskScore:
    """Return the score of some rows of a tally.

    Args:
        tally: counts of all rows.
        chosen: indices of the rows to score; None for all.
        units: what is resampled together, one per row of the tally, such as a document; None resamples rows.
        sampling: how intervals are estimated; None computes none.
    """
    rows = range(len(tally.counts)) if chosen is None else chosen
    counts = tally.counts if chosen is None else tally.counts[np.asarray(chosen, dtype=np.intp)]
    point = {name: float(value) for name, value in tally.figures(counts.sum(axis=0)).items()}
    known = {name: value for name, value in point.items() if not np.isnan(value)}
    intervals: Mapping[str, tuple[float, float]] = {}
    if sampling is not None and sampling.resamples and len(rows):
        grouped = counts if units is None else sum_by_unit(counts, [units[i] for i in rows])
        intervals = bootstrap_intervals(grouped, tally.figures, sampling)
    metrics = {name: value for name, value in known.items() if name not in tally.failures}
    return TaskScore(
        rows=len(rows),
        primary=tally.primary if tally.primary in metrics else next(iter(metrics), tally.primary),
        metrics=metrics,
        failures={name: value for name, value in known.items() if name in tally.failures},
        intervals={name: interval for name, interval in intervals.items() if name in known},
        details=tally.details(rows),
    )


def sum_by_unit(counts: Array, units: Sequence[Hashable]) -> Array:
    """Add up the rows of each unit; the order of units is that of their first rows."""
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.intp)
    if len(places) == len(units):
        return counts
    sums = np.zeros((len(places), counts.shape[1]))
    np.add.at(sums, index, counts)
    return sums


def bootstrap_intervals(counts: Array, figures: Figures, sampling: Sampling) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each figure.

    Args:
        counts: [units, columns], a row for each unit that is drawn with replacement.
        figures: sums [..., columns] -> figures.
        sampling: resamples and seed.
    """
    drawn = figures(_resampled_sums(counts, sampling))
    return {name: _interval(values) for name, values in drawn.items()}


def paired_difference(base: Array, tuned: Array, figures: Figures, figure: str, sampling: Sampling) -> Difference:
    """Compare two systems on the same units.

    Args:
        base: [units, columns] counts of the base.
        tuned: the same of the tuned model, unit by unit.
        figures: sums [..., columns] -> figures.
        figure: the one to compare.
        sampling: resamples, permutations and seed.

    Example: two systems that answer alike differ by 0 with p = 1.
    """
    width = base.shape[1]

    def difference(sums: Array) -> Array:
        return figures(sums[..., width:])[figure] - figures(sums[..., :width])[figure]

    both = np.concatenate([base, tuned], axis=1)
    value = float(difference(both.sum(axis=0)))
    interval = _interval(difference(_resampled_sums(both, sampling)))
    exchanged = difference(_exchanged_sums(base, tuned, sampling))
    as_large = np.abs(exchanged) >= abs(value) - 1e-12  # sums of the same counts in another order differ by rounding
    return Difference(value, interval, float(1 + as_large.sum()) / (1 + sampling.permutations))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p values adjusted by Holm for testing several tasks at once.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[str, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return adjusted


def _resampled_sums(counts: Array, sampling: Sampling) -> Array:
    """Return [resamples, columns]: sums over units drawn with replacement.

    Units with equal counts are interchangeable, so only how often each distinct row of counts is drawn is random.
    """
    distinct, repeats = np.unique(counts, axis=0, return_counts=True)
    shares: Array = repeats / len(counts)
    rng = np.random.default_rng(sampling.seed)
    block = max(1, _BLOCK // len(distinct))
    sums = np.empty((sampling.resamples, counts.shape[1]))
    for start in range(0, sampling.resamples, block):
        size = min(block, sampling.resamples - start)
        drawn: NDArray[np.int64] = rng.multinomial(len(counts), shares, size=size)
        sums[start : start + size] = drawn.astype(np.float64) @ distinct
    return sums


def _exchanged_sums(base: Array, tuned: Array, sampling: Sampling) -> Array:
    """Return [permutations, 2 x columns]: sums after exchanging the two systems in units drawn by a fair coin."""
    change = (tuned - base) / 2
    differs = change.any(axis=1)
    middle, change = ((base + tuned) / 2).sum(axis=0), change[differs]
    rng = np.random.default_rng([sampling.seed, 1])
    block = max(1, _BLOCK // max(1, len(change)))
    sums = np.empty((sampling.permutations, 2 * base.shape[1]))
    for start in range(0, sampling.permutations, block):
        size = min(block, sampling.permutations - start)
        bits = np.unpackbits(rng.integers(0, 256, (size, (len(change) + 7) // 8), dtype=np.uint8), axis=1)
        signs: Array = bits[:, : len(change)].astype(np.float64) * 2 - 1
        shift = signs @ change
        sums[start : start + size] = np.concatenate([middle - shift, middle + shift], axis=1)
    return sums


def _interval(values: Array) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return (0.0, 0.0)
    low, high = np.percentile(known, _COVERAGE)
    return float(low), float(high)
