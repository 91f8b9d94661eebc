"""How the scores of a task look in a terminal, and what is known of the sources."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["notes_of", "print_contracts", "task_table"]

_MOST_LABEL_TEXT = 60
_MOST_LINES = 10
_FEW_POINTS = 2


def task_table(result: Mapping[str, Any], task: str) -> "Table":
    """Return the table of a task's figures over rows, with intervals, and over sources where there are several."""
    from rich.table import Table

    score = result["tasks"][task]
    other = result.get("base", result.get("against", {})).get("tasks", {}).get(task, {})
    base = {**other.get("metrics", {}), **other.get("failures", {})}
    over = result.get("over_sources", {}).get(task)
    table = Table(title=f"{task}, {score['rows']} rows", title_justify="left")
    between = (("base",) if "base" in result else ("other",)) if base else ()
    macro = (f"macro over {over['sources']} sources",) if over else ()
    for column in ("metric", *between, "micro over rows" if over else "value", "95 % interval", *macro):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, value in (score["metrics"] | score["failures"]).items():
        interval = score["intervals"].get(name)
        why = "too few rows" if "too few" in score.get("no_interval", {}).get(name, "") else ""
        shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else why
        before = (f"{base[name]:.3f}" if name in base else "",) if base else ()
        mean = (f"{over['metrics'][name]:.3f}" if name in over["metrics"] else "",) if over else ()
        table.add_row(name, *before, f"{value:.3f}", shown, *mean)
    return table


def print_contracts(console: "Console", contracts: Sequence[Mapping[str, Any]]) -> None:
    """Print what each source is, how that is known, its labels, the negative ones and its figure."""
    from rich.table import Table

    if not contracts:
        return
    table = Table(title="What the sources are", title_justify="left")
    for column in ("source", "kind", "task", "known by", "labels", "negative", "metric"):
        table.add_column(column, overflow="fold")
    for contract in contracts:
        labels = list(contract["labels"])
        told = shorten(", ".join(labels), _MOST_LABEL_TEXT, placeholder=f" ... ({len(labels)} labels)")
        table.add_row(
            *(contract["source"] or "unnamed", contract["kind"], contract["task"], contract["known"], told),
            *(", ".join(contract["negative"]), contract["metric"] or "of its task"),
        )
    console.print(table)


def notes_of(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the tables do not say: undefined figures, what the rows can show, rows that were not paired, warnings."""
    for task, score in result["tasks"].items():
        if undefined := score.get("undefined"):
            yield f"{task}: undefined, because nothing is there to find: {', '.join(undefined)}"
        if (points := score.get("shows_points")) is not None:
            yield f"{task}: {score['rows']} rows can show {points:.{int(points < _FEW_POINTS)}f} points of {score['primary']}"
    for which, rows in result.get("unpaired", {}).items():
        if rows:
            more = f" and {len(rows) - _MOST_LINES:,} more" if len(rows) > _MOST_LINES else ""
            whose = "the first file" if which == "file" else "the other file"
            yield f"{len(rows):,} rows of {whose} have no counterpart: {', '.join(map(str, rows[:_MOST_LINES]))}{more}"
    yield from result.get("warnings", [])
