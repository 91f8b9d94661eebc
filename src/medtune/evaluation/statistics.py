"""Figures of some rows with their intervals, and paired tests of two systems."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medtune.evaluation.intervals import LEAST_UNITS, Estimates, difference_interval, estimate
from medtune.evaluation.tally import Array, Figures, Tally
from medtune.plugins.contracts import TaskScore

__all__ = ["Difference", "Sampling", "holm", "paired_difference", "sum_by_unit", "summarise"]

_BLOCK = 4_000_000
"""Random numbers held at once (32 MB)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the paired test draws.

    Attributes:
        permutations: random exchanges of the two systems' answers.
        seed: the same seed gives the same figures.
    """

    permutations: int = 9999
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Tuned minus base of one figure, on the same rows.

    Attributes:
        value: the difference.
        interval: its 95 % interval; None where too few rows say anything about the figure.
        p_value: chance of a difference at least as large, in either direction, if it did not matter which of the two
            systems gave which answer (approximate randomisation).
        units: what was exchanged, "rows" or "documents".
    """

    value: float
    interval: tuple[float, float] | None
    p_value: float
    units: str = "rows"


def summarise(
    tally: Tally,
    chosen: Sequence[int] | None = None,
    units: Sequence[Hashable] | None = None,
    *,
    intervals: bool = False,
) -> TaskScore:
    """Return the score of some rows of a tally.

    Args:
        tally: counts of all rows.
        chosen: indices of the rows to score; None for all.
        units: what varies together, one per row of the tally, such as a document; None takes each row for itself.
        intervals: whether 95 % intervals are computed.
    """
    rows = range(len(tally.counts)) if chosen is None else chosen
    counts = tally.counts if chosen is None else tally.counts[np.asarray(chosen, dtype=np.intp)]
    values = {name: float(value) for name, value in tally.figures(counts.sum(axis=0)).items()}
    values |= {name: float(value) for name, value in tally.points(rows).items()}
    known = {name: value for name, value in values.items() if not np.isnan(value)}
    found = Estimates({}, {})
    if intervals:
        found = estimate(counts if units is None else sum_by_unit(counts, [units[i] for i in rows]), tally.figures)
    metrics = {name: value for name, value in known.items() if name not in tally.failures}
    return TaskScore(
        rows=len(rows),
        primary=tally.secondary if tally.primary not in metrics and tally.secondary in metrics else tally.primary,
        metrics=metrics,
        failures={name: value for name, value in known.items() if name in tally.failures},
        intervals={name: interval for name, interval in found.intervals.items() if name in known},
        details=tally.details(rows),
        undefined=tuple(name for name in values if name not in known),
        rows_of={name: n for name, n in tally.rows_of(rows).items() if name in known and n < len(rows)},
        no_interval=_reasons(known, found, "rows" if units is None else "documents") if intervals else {},
    )


def _reasons(known: Mapping[str, float], found: Estimates, what: str) -> dict[str, str]:
    """Say why a known figure has no interval."""
    return {
        name: f"too few {what}: {found.units[name]} of the {LEAST_UNITS} that an interval needs"
        if name in found.units
        else "it is no sum over rows"
        for name in known
        if name not in found.intervals
    }


def sum_by_unit(counts: Array, units: Sequence[Hashable]) -> Array:
    """Add up the rows of each unit; the order of units is that of their first rows."""
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.intp)
    if len(places) == len(units):
        return counts
    sums = np.zeros((len(places), counts.shape[1]))
    np.add.at(sums, index, counts)
    return sums


def paired_difference(base: Array, tuned: Array, figures: Figures, figure: str, sampling: Sampling) -> Difference:
    """Compare two systems on the same units.

    Args:
        base: [units, columns] counts of the base.
        tuned: the same of the tuned model, unit by unit.
        figures: sums [..., columns] -> figures.
        figure: the one to compare.
        sampling: permutations and seed.

    Example: two systems that answer alike differ by 0 with p = 1.
    """
    width = base.shape[1]

    def difference(sums: Array) -> Array:
        return figures(sums[..., width:])[figure] - figures(sums[..., :width])[figure]

    value = float(difference(np.concatenate([base, tuned], axis=1).sum(axis=0)))
    exchanged = difference(_exchanged_sums(base, tuned, sampling))
    # Sums of the same counts in another order differ by rounding; what is undefined speaks for no difference.
    as_large = (np.abs(exchanged) >= abs(value) - 1e-12) | np.isnan(exchanged)
    p_value = float(1 + as_large.sum()) / (1 + sampling.permutations)
    return Difference(value, difference_interval(base, tuned, figures, figure), p_value)


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
