"""Successive halving: where settings are compared, and which of them go on."""

from collections.abc import Mapping, Sequence
from math import ceil, log2
from typing import Any

__all__ = ["figure_at", "is_there", "ranked", "shares_of"]


def shares_of(settings: int, *, halving: bool) -> list[float]:
    """Return the shares of a run's updates after which settings are compared: 1/8, 1/4, 1/2 and 1 for eight of them."""
    rungs = ceil(log2(settings)) if halving else 0
    return [0.5**rung for rung in range(rungs, -1, -1)]


def figure_at(setting: Mapping[str, Any], share: float) -> float | None:
    """Return a setting's figure at a share of its run, the greater the better; None where it has none."""
    return next((part["figure"] for part in setting["parts"] if part["share"] == share), None)


def ranked(settings: Sequence[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """Return settings by their figure, the best first; those without one last, equal ones in order."""

    def place(setting: Mapping[str, Any]) -> tuple[bool, float]:
        figure = figure_at(setting, share)
        return figure is None, -(figure or 0.0)

    return sorted(settings, key=place)


def is_there(setting: Mapping[str, Any], share: float) -> bool:
    """Whether a setting came as far as a share of its updates."""
    return any(part["share"] >= share for part in setting["parts"])
