"""Counts per row from which every figure of a task follows, for any subset or resample of the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtune.plugins.contracts import Prediction

__all__ = ["Array", "Figures", "Tallied", "Tally", "f1", "precision", "ratio", "tally_ratios"]

Array = NDArray[np.float64]
Figures = Callable[[Array], Mapping[str, Array]]


def _no_details(_rows: Sequence[int]) -> Mapping[str, Any]:
    return {}


def _all_rows(_rows: Sequence[int]) -> Mapping[str, int]:
    return {}


def _no_points(_rows: Sequence[int]) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Tally:
    """What a task counted.

    Attributes:
        primary: name of the figure that stands for the task.
        counts: [rows, columns]; the sums of the columns over any rows determine the figures of those rows.
        figures: sums [..., columns] -> figure name -> values [...], between 0 and 1; nan where nothing is there to find,
            which is told as "undefined" and goes into no mean.
        failures: which of the figures are rates of unusable answers rather than metrics.
        details: row indices -> further JSON values about those rows.
        points: row indices -> figures that no sums determine; they get no interval.
        secondary: figure that stands for rows about which the primary one says nothing; empty for none.
        rows_of: row indices -> figure -> how many of them it is of, for figures that may be of some rows only.
    """

    primary: str
    counts: Array
    figures: Figures
    failures: frozenset[str] = frozenset()
    details: Callable[[Sequence[int]], Mapping[str, Any]] = _no_details
    points: Callable[[Sequence[int]], Mapping[str, float]] = _no_points
    secondary: str = ""
    rows_of: Callable[[Sequence[int]], Mapping[str, int]] = _all_rows


@runtime_checkable
class Tallied(Protocol):
    """A task that counts per row; only such a task gets intervals, paired tests and figures per source for free.

    The columns may depend on the gold answers, never on the predictions: two systems' counts are compared column by column.
    """

    name: str

    def tally(self, predictions: Sequence[Prediction]) -> Tally:
        """Count the answers, a row of counts per prediction in order."""
        ...


def tally_ratios(
    primary: str, parts: Mapping[str, tuple[ArrayLike, ArrayLike]], failures: frozenset[str] = frozenset()
) -> Tally:
    """Return the tally of figures that are one sum over another: shares, means, precision and recall.

    Args:
        primary: figure that stands for the task.
        parts: figure -> its part and its whole, a number of either for each row; a mean has the value and 1, a row about
            which it says nothing 0 and 0.
        failures: which of them are rates of unusable answers.

    >>> from medtune.evaluation.tally import tally_ratios
    >>> tally = tally_ratios("accuracy", {"accuracy": ([1, 0, 1], [1, 1, 1])})
    >>> round(float(tally.figures(tally.counts.sum(axis=0))["accuracy"]), 3)
    0.667
    """
    names = list(parts)
    columns = [np.asarray(values, dtype=np.float64) for pair in parts.values() for values in pair]

    def figures(sums: Array) -> dict[str, Array]:
        return {name: ratio(sums[..., 2 * i], sums[..., 2 * i + 1]) for i, name in enumerate(names)}

    return Tally(primary, np.stack(columns, axis=1), figures, failures)


def ratio(part: Array, whole: Array, empty: float = np.nan) -> Array:
    """Return ``part / whole``, and ``empty`` where ``whole`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, empty)


def f1(correct: Array, predicted: Array, gold: Array) -> Array:
    """Return the harmonic mean of precision and recall from counts, nan where nothing is predicted and nothing gold."""
    return ratio(2 * correct, predicted + gold)


def precision(correct: Array, predicted: Array, gold: Array) -> Array:
    """Return the share of the predicted that is right: 0 where nothing is predicted of what there is to find, else nan."""
    return np.where(predicted > 0, ratio(correct, predicted), np.where(gold > 0, 0.0, np.nan))
