"""The part of a report that shows other systems beside the adapter: their figures, the tests, time and cost."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.data.score_words import figure_name, rows_of_figure
from medtune.errors.visible import html_text as escape
from medtune.export.page import ABSENT, Cell, figure, interval_of, p_value, section, signed_points, table

__all__ = ["baseline_section"]

_NOTE = (
    "Each system answered the rows that the adapter is scored on, and the same scorer read its answers. An encoder learned "
    "from the same training rows. Differences are the adapter's figure minus the system's; p values are adjusted by Holm "
    "over the tasks of a system."
)
_PUBLISHED = (
    "Published figures stand here only where the rows have the size of one official split, and the figure is counted in the "
    "same way."
)


def baseline_section(found: Mapping[str, Any]) -> str:
    """Return the table of what ``evaluation/baselines.json`` holds; nothing where there is none."""
    heads = ("system", "task", "metric", "rows", "system's", "adapter's", "difference", "verdict", "1,000 answers")
    rows = list(_rows(found.get("systems", {})))
    if not rows:
        return ""
    times = f'<p class="note">1,000 answers of the adapter take {escape(_seconds(found["tuned"]))}.</p>'
    shown = table(heads, rows, left=3, stack=True)
    note = f'<p class="note">{_NOTE}</p>'
    by_source = _by_source(found["systems"])
    return section("Beside other systems", "baselines", shown, times, note, by_source, _published(found))


def _rows(systems: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Cell]]:
    for name, system in systems.items():
        for task, compared in system["comparison"]["tasks"].items():
            bounds = compared["interval"]
            span = f"<br><small>{signed_points(bounds[0])} to {signed_points(bounds[1])}</small>" if bounds else ""
            metric, score = compared["metric"], system["tasks"][task]
            adapter = system.get("adapter", {}).get("tasks", {}).get(task)  # earlier releases kept none
            verdict = str(compared["verdict"]).partition(" (")[0]
            yield [
                Cell.text(name),
                Cell.text(task),
                Cell.text(figure_name(metric)),
                Cell(f"{rows_of_figure({'rows': compared['rows'], **score}, metric):,}"),
                Cell(f"<span>{figure(compared['base'])}<br>{interval_of(score, metric)}</span>"),
                Cell(f"<span>{figure(compared['tuned'])}<br>{interval_of(adapter, metric)}</span>"),
                Cell(f"<span>{signed_points(compared['difference'])}{span}</span>"),
                Cell(f'<span><span class="verdict {_css(verdict)}">{escape(verdict)}</span>{p_value(compared)}</span>'),
                Cell.text(_seconds(system)),
            ]


def _by_source(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of each system and of the adapter on the same rows, source by source."""
    rows: list[list[Cell]] = []
    for name, system in systems.items():
        for source, scores in system.get("sources", {}).items():
            for task, score in scores.items():
                metric = score["primary"]
                adapter = system.get("adapter", {}).get("sources", {}).get(source, {}).get(task, {})
                rows.append(
                    [
                        *(Cell.text(value) for value in (name, source, task, figure_name(metric))),
                        Cell(f"{rows_of_figure(score, metric):,}"),
                        *(
                            Cell(
                                f"<span>{figure(of.get('metrics', {}).get(metric))}<br>{interval_of(of, metric)}</span>"
                            )
                            for of in (score, adapter)
                        ),
                    ]
                )
    heads = ("system", "source", "task", "metric", "rows", "system's", "adapter's")
    shown = table(heads, rows, left=4, stack=True)
    return f"<h3>Other systems by source</h3>{shown}" if shown else ""


def _css(verdict: str) -> str:
    word = verdict.partition(" ")[0]
    return word if word in ("better", "worse") else "even"


def _seconds(found: Mapping[str, Any]) -> str:
    each = found["per_1000_rows"]
    if each["seconds"] is None:
        return ABSENT
    return f"{each['seconds']:,.1f} s" + (f", cost {each['cost']:.2f}" if each["cost"] is not None else "")


def _published(found: Mapping[str, Any]) -> str:
    rows = [
        [
            *(Cell.text(one[key]) for key in ("set", "split", "system")),
            Cell.text(figure_name(one["metric"])),
            Cell(figure(one["value"])),
            Cell(figure(one["own"]["tuned"])),
            Cell.text(one["citation"]),
        ]
        for one in found.get("published", [])
    ]
    heads = ("set", "split", "published for", "metric", "published", "adapter's", "where")
    shown = table(heads, rows, left=4, stack=True)
    return f'<h3>Published figures</h3>{shown}<p class="note">{_PUBLISHED}</p>' if shown else ""
