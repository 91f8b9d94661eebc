"""How a task's score, in its JSON form, is put in words: a figure's name, the rows it is of, why it has no interval."""

from collections.abc import Mapping
from typing import Any

__all__ = ["figure_name", "rows_of_figure", "why_no_interval"]


def figure_name(name: str) -> str:
    """Return a metric's name as it is read.

    >>> figure_name("span_f1_strict")
    'span F1 strict'
    """
    return name.replace("_", " ").replace("f1", "F1").replace("rouge l", "ROUGE-L")


def rows_of_figure(score: Mapping[str, Any], name: str) -> int:
    """Return how many of a score's rows a figure is of."""
    found: int = score.get("rows_of", {}).get(name, score.get("rows", 0))
    return found


def why_no_interval(score: Mapping[str, Any], name: str) -> str:
    """Return "too few rows" or "too few documents" where that is why a figure has no interval, else nothing."""
    reason = str(score.get("no_interval", {}).get(name, "")).partition(":")[0]
    return reason if reason.startswith("too few") else ""
