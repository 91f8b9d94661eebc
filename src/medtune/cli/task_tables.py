"""How the scores of a task look in a terminal, and what is known of the sources."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from medtune.data.score_words import rows_of_figure, why_no_interval

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["notes_of", "print_contracts", "source_table", "task_table"]

_MOST_LABEL_TEXT = 60
_MOST_LINES = 10
_FEW_POINTS = 2


def task_table(result: Mapping[str, Any], task: str) -> "Table":
    """Return the table of a task's figures over rows, with intervals, and over sources where there are several."""
    from rich.table import Table

    score = result["tasks"][task]
    beside = [*_beside(result, task)]
    over = result.get("over_sources", {}).get(task)
    has_rows = bool(score.get("rows_of"))
    value = "micro over rows" if over else "value"
    columns = [name for name, _figures in beside]
    if len(beside) > 1:
        value = f"{value}, {score['rows']} rows"
    table = Table(title=f"{task}, {score['rows']} rows", title_justify="left")
    macro = [f"macro over {over['sources']} sources"] if over else []
    for column in ("metric", *["rows"] * has_rows, *columns, value, "95 % interval", *macro):
        table.add_column(column, justify="left" if column == "metric" else "right", overflow="fold")
    for name, figure in (score["metrics"] | score["failures"]).items():
        interval = score["intervals"].get(name)
        shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else why_no_interval(score, name)
        others = [f"{figures[name]:.3f}" if name in figures else "" for _name, figures in beside]
        own = [str(rows_of_figure(score, name))] * has_rows
        table.add_row(name, *own, *others, f"{figure:.3f}", shown, *([_mean_over(over, name)] if over else []))
    return table


def _beside(result: Mapping[str, Any], task: str) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Yield heading and figures of what stands beside a task's own: the base's, or those of both files on the rows that they share."""
    for key, heading in (("base", "base"), ("against", "other")):
        other = result.get(key, {}).get("tasks", {}).get(task)
        if other is None:
            continue
        same = result.get("matched", {}).get("tasks", {}).get(task, {})
        if key == "base" or same.get("rows") == result["tasks"][task]["rows"]:
            yield heading, {**other["metrics"], **other["failures"]}
        else:
            yield f"{heading}, {other['rows']} rows", {**other["metrics"], **other["failures"]}
            yield f"value, the same {same['rows']} rows", {**same["metrics"], **same["failures"]}


def source_table(result: Mapping[str, Any]) -> "Table | None":
    """Return the table of each source's main figures; None where no task has several sources."""
    from rich.table import Table

    if not result.get("over_sources"):
        return None
    is_base = "base" in result
    table = Table(title="By source", title_justify="left")
    for column in ("source", "task", "metric", "rows", *["base"] * is_base, "value", "95 % interval"):
        is_text = column in ("source", "task", "metric")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for source, scores in result["sources"].items():
        for task, score in scores.items():
            name = score["primary"]
            before = result.get("base", {}).get("sources", {}).get(source, {}).get(task, {})
            interval = score["intervals"].get(name)
            shown = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else why_no_interval(score, name)
            figures = [of.get("metrics", {}).get(name) for of in ([before, score] if is_base else [score])]
            values = ("undefined" if figure is None else f"{figure:.3f}" for figure in figures)
            table.add_row(source, task, name, str(rows_of_figure(score, name)), *values, shown)
    return table


def _mean_over(over: Mapping[str, Any], name: str) -> str:
    """Return a figure's mean over sources, and over how many where not all of them have it."""
    if name not in over["metrics"]:
        return ""
    of = over.get("of", {}).get(name, over["sources"])
    return f"{over['metrics'][name]:.3f}" + (f" ({of} of them)" if of < over["sources"] else "")


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
            rows = rows_of_figure(score, score["primary"])
            yield f"{task}: {rows} rows can show {points:.{int(points < _FEW_POINTS)}f} points of {score['primary']}"
    for which, rows in result.get("unpaired", {}).items():
        if rows:
            more = f" and {len(rows) - _MOST_LINES:,} more" if len(rows) > _MOST_LINES else ""
            whose = "the first file" if which == "file" else "the other file"
            yield f"{len(rows):,} rows of {whose} have no counterpart: {', '.join(map(str, rows[:_MOST_LINES]))}{more}"
    yield from result.get("warnings", [])
