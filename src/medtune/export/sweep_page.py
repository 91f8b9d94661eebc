"""A sweep as a page: its settings and what each came to, and what the chosen one is worth."""

from collections.abc import Mapping
from typing import Any

from medtune.errors.visible import html_text as escape
from medtune.export.page import Cell, join, page, section, table
from medtune.export.side_by_side import RunTable

__all__ = ["html_page", "settings_table", "worth_table"]


def settings_table(record: Mapping[str, Any]) -> RunTable:
    """Return a line for each setting: what it tries, its figures on the way and at the end, its state and seconds."""
    asked = record["asked"]
    fields = list(dict.fromkeys(key for one in asked["settings"] for key in one["values"]))
    shares = sorted({part["share"] for one in record["settings"] for part in one["parts"] if part["share"] < 1})
    by = asked["by"]
    columns = ["setting", *fields, *(f"{by} at {share:.3g}" for share in shares), by, "state", "seconds"]
    lines: list[list[str]] = []
    for one in record["settings"]:
        at = {part["share"]: part["figure"] for part in one["parts"]}
        figures = [*(at.get(share) for share in shares), one.get("figure", at.get(1.0))]
        values = [str(one["values"].get(field, "")) for field in fields]
        lines.append(
            [one["name"], *values, *(_shown(value, by) for value in figures), _state(one), f"{one['seconds']:.0f}"]
        )
    return RunTable("Settings", columns, lines)


def worth_table(record: Mapping[str, Any]) -> RunTable:
    """Return a line for each task of the chosen setting: on the rows that chose, and on the others beside the base."""
    choosing, others = record["winner"]["choosing"], record["winner"]["others"]
    lines: list[list[str]] = []
    for task, of in others["tasks"].items():
        before = choosing["tasks"].get(task, {}).get("value")
        interval = of["interval"]
        told = f"{of['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
        lines.append([f"{task} {of['metric']}", _number(before), told, _number(of["base"]), f"{of['rows']:,}"])
    columns = ["task", "on the rows that chose", "on the others, 95 % interval", "base on the others", "rows"]
    return RunTable("What the chosen one is worth", columns, lines)


def html_page(record: Mapping[str, Any]) -> str:
    """Return a page that needs no network, in the look of a run's report."""
    shown = [
        section(each.title, f"table-{place}", table(each.columns, [[*map(Cell.text, line)] for line in each.lines]))
        for place, each in enumerate((worth_table(record), settings_table(record)))
    ]
    lead = f'<p class="lead">{escape(record["sentence"])}</p>'
    failed = "".join(
        f"<li>{escape(one['name'])}: {escape(one['error']['message'])}</li>"
        for one in record["settings"]
        if one["state"] == "failed"
    )
    head = f'<header><p class="over">medtune sweep</p><h1>Settings tried</h1>{lead}</header>'
    return page(
        "Sweep: medtune", join(head, *shown, section("Failed", "failed", f"<ul>{failed}</ul>" if failed else ""))
    )


def _state(one: Mapping[str, Any]) -> str:
    return f"failed: {one['error']['type']}" if one["state"] == "failed" else str(one["state"])


def _shown(figure: float | None, by: str) -> str:
    return "" if figure is None else f"{-figure if by == 'loss' else figure:.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
