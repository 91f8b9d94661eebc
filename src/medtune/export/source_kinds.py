"""The part of a report that says what the rows of each source are, how that is known, and what their figure is."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.score_words import figure_name
from medtune.export.page import Cell, section, table

__all__ = ["sources_section"]

_MOST_LABELS = 12


def sources_section(contracts: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of contracts, as an evaluation's JSON has them; nothing where there are none."""
    rows = [
        [
            *(Cell.text(contract[key] or "unnamed") for key in ("source", "kind", "task", "known")),
            Cell.text(_listed(contract["labels"])),
            Cell.text(", ".join(contract["negative"])),
            Cell.text(figure_name(contract["metric"]) or "of its task"),
        ]
        for contract in contracts
    ]
    columns = ("source", "kind", "task", "known by", "labels", "negative", "metric")
    return section("What the sources are", "sources", table(columns, rows, left=len(columns), stack=True))


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MOST_LABELS:,} more" if len(labels) > _MOST_LABELS else ""
    return ", ".join(labels[:_MOST_LABELS]) + more
