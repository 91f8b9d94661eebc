"""Compares how often labels occur in two splits: a label coded otherwise in one of them shows at once."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["LabelCounts", "Shift", "shifted"]

_LEAST_ROWS = 5
_LEAST_SHIFT = 0.1
"""Smaller differences do not come from another coding."""
_T = 4.5
_T_OF_FEW = 30.0
"""A difference must be 4.5 (1 + 30 / rows) standard errors: chance gives that in less than one of 100,000 comparisons,
also from five rows, where the errors themselves are uncertain."""
_CHANCE = 1e-5
"""The same for a label that one split does not have at all, by the share of random splits that would part it so."""
_LEAST_SPREAD = 0.25  # of what the other split's rows vary by; rows that are all alike vary by chance too little


class Shift(NamedTuple):
    """A label whose share differs; shares between 0 and 1."""

    label: str
    training: float
    validation: float


@dataclass(slots=True)
class LabelCounts:
    """How often each label occurs in the rows of one source and split.

    Rows are the units: the tokens of a row are labelled by one text, so they are no independent draws.
    """

    rows: int = 0
    total: int = 0
    total_squared: int = 0
    sums: Counter[str] = field(default_factory=Counter[str])
    squares: Counter[str] = field(default_factory=Counter[str])
    products: Counter[str] = field(default_factory=Counter[str])
    rows_with: Counter[str] = field(default_factory=Counter[str])

    def add(self, labels: Mapping[str, int], total: int) -> None:
        """Count a row: how often it has each label, out of ``total``."""
        self.rows += 1
        self.total += total
        self.total_squared += total * total
        for label, times in labels.items():
            self.sums[label] += times
            self.squares[label] += times * times
            self.products[label] += times * total
            self.rows_with[label] += times > 0

    def share(self, label: str) -> float:
        """Return the label's share of all."""
        return self.sums[label] / self.total if self.total else 0.0

    def variance(self, label: str) -> float:
        """Return the variance of that share over draws of rows."""
        if self.rows < 2 or not self.total:  # noqa: PLR2004 - one row varies by nothing
            return math.inf
        share = self.share(label)
        spread = self.squares[label] - 2 * share * self.products[label] + share * share * self.total_squared
        return max(spread, 0.0) / self.total**2 * self.rows / (self.rows - 1)


def shifted(training: LabelCounts, validation: LabelCounts, labels: Iterable[str] | None = None) -> list[Shift]:
    """Return the labels whose share differs by a tenth or more, and by far more than chance.

    Args:
        training: counts of one split.
        validation: counts of the other.
        labels: to compare; None compares all of either.

    Returns:
        What is commonest in training first.
    """
    rows = min(training.rows, validation.rows)
    if rows < _LEAST_ROWS:
        return []
    found: list[Shift] = []
    for label in training.sums | validation.sums if labels is None else labels:
        shift = Shift(label, training.share(label), validation.share(label))
        difference = abs(shift.training - shift.validation)
        if difference >= _LEAST_SHIFT and (
            difference >= _T * (1 + _T_OF_FEW / rows) * _error(label, training, validation)
            or _is_kept_apart(training.rows_with[label], validation.rows_with[label], training.rows, validation.rows)
        ):
            found.append(shift)
    return sorted(found, key=lambda shift: (-shift.training, shift.label))


def _is_kept_apart(one: int, other: int, one_rows: int, other_rows: int) -> bool:
    """Whether all rows with a label are in one split, and a random split would hardly ever do that."""
    if one and other:
        return False
    chance = (one_rows if one else other_rows) / (one_rows + other_rows)
    return chance ** (one + other) < _CHANCE


def _error(label: str, one: LabelCounts, other: LabelCounts) -> float:
    """Return the standard error of the difference."""
    variances = (one.variance(label), other.variance(label))
    of_rows = (variances[0] * one.rows, variances[1] * other.rows)
    floors = (_LEAST_SPREAD * of_rows[1] / one.rows, _LEAST_SPREAD * of_rows[0] / other.rows)
    return math.sqrt(sum(map(max, variances, floors)))
