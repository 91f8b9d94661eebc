"""Counts per row from which every figure of a task follows, for any subset or resample of the rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from medtune.plugins.contracts import Prediction

__all__ = ["Array", "Figures", "Tallied", "Tally", "f1", "ratio"]

Array = NDArray[np.float64]
Figures = Callable[[Array], Mapping[str, Array]]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a task counted.

    Attributes:
        primary: name of the figure that stands for the task.
        counts: [rows, columns]; the sums of the columns over any rows determine the figures of those rows.
        figures: sums [..., columns] -> figure name -> values [...]; nan where the rows say nothing about it.
        failures: which of the figures are rates of unusable answers rather than metrics.
        details: row indices -> further JSON values about those rows.
    """

    primary: str
    counts: Array
    figures: Figures
    failures: frozenset[str]
    details: Callable[[Sequence[int]], Mapping[str, Any]]


@runtime_checkable
class Tallied(Protocol):
    """A task that counts per row; only such a task gets intervals, paired tests and figures per subset for free."""

    name: str

    def tally(self, predictions: Sequence[Prediction]) -> Tally:
        """Count the answers, a row of counts per prediction in order."""
        ...


def ratio(part: Array, whole: Array, empty: float = 0.0) -> Array:
    """Return ``part / whole``, and ``empty`` where ``whole`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, empty)


def f1(correct: Array, predicted: Array, gold: Array) -> Array:
    """Return the harmonic mean of precision and recall from counts, 0 where nothing is predicted and nothing gold."""
    return ratio(2 * correct, predicted + gold)
