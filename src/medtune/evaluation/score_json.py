"""The JSON values of a task's score, as files and ``--json`` have them."""

from collections.abc import Mapping
from typing import Any

from medtune.plugins.contracts import TaskScore

__all__ = ["score_to_json", "scores_to_json"]


def score_to_json(score: TaskScore) -> dict[str, Any]:
    """Return the JSON values, without nan."""
    return {
        "rows": score.rows,
        "primary": score.primary,
        "metrics": dict(score.metrics),
        "intervals": {name: list(interval) for name, interval in score.intervals.items()},
        "failures": dict(score.failures),
        "details": dict(score.details),
        "undefined": list(score.undefined),
        "no_interval": dict(score.no_interval),
        "shows_points": _shown(score),
        "rows_of": dict(score.rows_of),
    }


def scores_to_json(scores: Mapping[str, TaskScore], **more: str) -> dict[str, dict[str, Any]]:
    """Return name -> the JSON values of a score, and ``more`` with each."""
    return {name: {**score_to_json(score), **more} for name, score in scores.items()}


def _shown(score: TaskScore) -> float | None:
    """Return how many points from the primary figure its interval reaches: a smaller difference these rows cannot show."""
    interval = score.intervals.get(score.primary)
    if interval is None:
        return None
    value = score.metrics[score.primary]
    return round(100 * max(interval[1] - value, value - interval[0]), 1)
