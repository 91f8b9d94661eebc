"""Small pieces of an HTML page: escaping, tables, sections, the page around them."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from medtune.data.score_words import why_no_interval
from medtune.errors.visible import html_text as escape

__all__ = [
    "ABSENT",
    "Cell",
    "figure",
    "interval",
    "interval_of",
    "join",
    "p_value",
    "page",
    "section",
    "signed_points",
    "table",
]


ABSENT = "\N{EN DASH}"
"""Stands for a figure that there is not."""
_LEAST_P = 0.001


class Cell(NamedTuple):
    """A table cell; ``html`` is markup, everything in it escaped by whoever made it."""

    html: str
    css: str = ""

    @classmethod
    def text(cls, value: object, css: str = "") -> "Cell":
        """Return a cell that shows ``value`` as it is."""
        return cls(escape(str(value)), css)


def figure(value: float | None) -> str:
    """Return a figure between 0 and 1 with three places, a dash when there is none."""
    return ABSENT if value is None else f"{value:.3f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Return an interval as small print, nothing when there is none."""
    return f"<small>{bounds[0]:.3f} to {bounds[1]:.3f}</small>" if bounds else ""


def interval_of(score: Mapping[str, Any] | None, metric: str) -> str:
    """Return the interval of a score's figure as small print, or why it has none."""
    bounds = (score or {}).get("intervals", {}).get(metric)
    why = why_no_interval(score or {}, metric)
    return interval(bounds) or (f"<small>{escape(why)}</small>" if why else "")


def p_value(compared: Mapping[str, Any]) -> str:
    """Return the p value of a comparison as small print on a line of its own, nothing where it was not tested."""
    value = compared.get("p_value")
    if value is None:
        return ""
    return f"<br><small>p {'&lt; 0.001' if value < _LEAST_P else f'= {value:.3f}'}</small>"


def signed_points(difference: float | None) -> str:
    """Return a difference of figures in points (hundredths), with its sign."""
    return ABSENT if difference is None else f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def join(*parts: str) -> str:
    """Return the parts that are not empty, one a line."""
    return "\n".join(part for part in parts if part)


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, left: int = 1, stack: bool = False) -> str:
    """Return a table that scrolls sideways when it is wider than the page.

    Args:
        columns: headings.
        rows: cells, as many per row as there are headings.
        left: columns from the first that are text and stand at the left.
        stack: whether a phone shows each row as a small list of its own instead.
    """
    if not rows:
        return ""

    def css(place: int, more: str = "") -> str:
        names = " ".join(filter(None, ("l" if place < left else "", more)))
        return f' class="{names}"' if names else ""

    head = "".join(f"<th{css(i)}>{escape(name)}</th>" for i, name in enumerate(columns))
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td{css(i, cell.css)} data-label="{escape(columns[i])}">{cell.html}</td>' for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    kind = ' class="stack"' if stack else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def section(title: str, name: str, *parts: str) -> str:
    """Return a section, nothing when it has no content."""
    content = join(*parts)
    return f'<section id="{name}"><h2>{escape(title)}</h2>\n{content}\n</section>' if content else ""


def page(title: str, body: str) -> str:
    """Return a page that needs nothing but itself."""
    style = files("medtune.export").joinpath("report.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
