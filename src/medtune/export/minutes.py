"""The report's table of minutes: what the plan promised for each stage up to the score, and what it took."""

from collections.abc import Mapping
from typing import Any

from medtune.export.page import ABSENT, Cell, section, table

__all__ = ["minutes_section"]

_NAMES = {"load": "load the base", "prepare": "prepare the rows", "train": "train", "score": "score", "total": "in all"}
_NOTE = (
    "Promised once the rows were counted, without downloads. Measured over all calls that this run was interrupted and "
    "continued by."
)


def minutes_section(record: Mapping[str, Any]) -> str:
    """Return the section; empty for a run whose stages were not timed."""
    found: Mapping[str, Any] = record.get("minutes") or {}
    promised, measured = found.get("promised") or {}, found.get("measured") or {}
    if not measured:
        return ""
    basis: Mapping[str, Any] = (record.get("plan") or {}).get("minutes_basis") or {}
    rows = [
        [
            Cell.text(name),
            Cell(_minutes(promised.get(stage))),
            Cell(_minutes(measured.get(stage))),
            Cell(_times(promised.get(stage), measured.get(stage))),
            Cell.text(basis.get(stage, "")),
        ]
        for stage, name in _NAMES.items()
        if stage in measured or promised.get(stage) is not None
    ]
    shown = table(
        ("stage", "promised, minutes", "measured", "measured / promised", "promised by"), rows, left=1, stack=True
    )
    return section("Minutes to the score", "minutes", shown, f'<p class="note">{_NOTE}</p>')


def _minutes(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, int | float) else ABSENT


def _times(promised: object, measured: object) -> str:
    if isinstance(promised, int | float) and isinstance(measured, int | float) and promised > 0:
        return f"{measured / promised:.2f}"
    return ABSENT
