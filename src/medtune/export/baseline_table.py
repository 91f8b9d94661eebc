"""The part of a report that shows other systems beside the adapter: their figures, the tests, time and cost."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from medtune.export.page import ABSENT, Cell, figure, interval, section, signed_points, table

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
    return section("Beside other systems", "baselines", shown, times, f'<p class="note">{_NOTE}</p>', _published(found))


def _rows(systems: Mapping[str, Mapping[str, Any]]) -> Iterator[list[Cell]]:
    for name, system in systems.items():
        for task, compared in system["comparison"]["tasks"].items():
            bounds = compared["interval"]
            span = f"<br><small>{signed_points(bounds[0])} to {signed_points(bounds[1])}</small>" if bounds else ""
            own = interval(system["tasks"][task]["intervals"].get(compared["metric"]))
            verdict = str(compared["verdict"]).partition(" (")[0]
            yield [
                Cell.text(name),
                Cell.text(task),
                Cell.text(compared["metric"].replace("_", " ")),
                Cell(f"{compared['rows']:,}"),
                Cell(f"<span>{figure(compared['base'])}<br>{own}</span>"),
                Cell(figure(compared["tuned"])),
                Cell(f"<span>{signed_points(compared['difference'])}{span}</span>"),
                Cell(f'<span class="verdict {_css(verdict)}">{escape(verdict)}</span>'),
                Cell.text(_seconds(system)),
            ]


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
            Cell.text(one["metric"].replace("_", " ")),
            Cell(figure(one["value"])),
            Cell(figure(one["own"]["tuned"])),
            Cell.text(one["citation"]),
        ]
        for one in found.get("published", [])
    ]
    heads = ("set", "split", "published for", "metric", "published", "adapter's", "where")
    shown = table(heads, rows, left=4, stack=True)
    return f'<h3>Published figures</h3>{shown}<p class="note">{_PUBLISHED}</p>' if shown else ""
