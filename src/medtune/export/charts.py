"""Draws figures as HTML and inline SVG that scale with the page and keep their labels readable."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.errors.visible import html_text as escape
from medtune.export.page import signed_points

__all__ = ["curve", "duels", "histogram", "reliability_plot", "risk_plot"]

_WIDTH, _HEIGHT = 1000, 300
_TICKS = 4
_TIDY_STEPS = (1, 2, 2.5, 5, 10)


def curve(points: Sequence[tuple[float, float]], caption: str, x_name: str) -> str:
    """Return a line chart.

    Args:
        points: (x, y) in order of x; at least two, or nothing is drawn.
        caption: what is shown.
        x_name: what x counts, for the last label.
    """
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    xs, ys = [x for x, _y in points], [y for _x, y in points]
    ticks = _ticks(min(ys), max(ys))
    low, high = ticks[0], ticks[-1]
    span = (xs[-1] - xs[0]) or 1.0
    path = " ".join(
        f"{_WIDTH * (x - xs[0]) / span:.1f},{_HEIGHT * (1 - (y - low) / (high - low)):.1f}" for x, y in points
    )
    grid = "".join(
        f'<line x1="0" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)" vector-effect="non-scaling-stroke"/>'
        for y in (_HEIGHT * (1 - (tick - low) / (high - low)) for tick in ticks[1:])
    )
    y_labels = "".join(
        f'<span class="y" style="bottom:{100 * (tick - low) / (high - low):.1f}%">{tick:g}</span>' for tick in ticks
    )
    x_labels = (
        f'<span class="x first" style="left:0">{xs[0]:g}</span>'
        f'<span class="x last" style="left:100%">{escape(x_name)} {xs[-1]:g}</span>'
    )
    return (
        f'<figure class="chart"><figcaption>{escape(caption)}</figcaption><div class="plot">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(caption)}">{grid}'
        f'<polyline points="{path}" fill="none" stroke="var(--tuned)" stroke-width="2" stroke-linejoin="round" '
        f'vector-effect="non-scaling-stroke"/></svg>{y_labels}{x_labels}</div><div class="below"></div></figure>'
    )


def duels(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return base against tuned on a scale from 0 to 1, a line per row.

    Args:
        rows: mappings with ``name``, ``metric``, ``base``, ``tuned`` (None when unknown), ``base_interval`` and
            ``tuned_interval`` (None without), and ``css`` of the verdict.
    """
    if not rows:
        return ""
    lines = "\n".join(_duel(row) for row in rows)
    return (
        '<div class="keys"><span class="base">base</span><span class="tuned">tuned</span> bars: 95 % intervals</div>'
        f'<div class="duels">{lines}</div>'
        '<div class="scale"><div><span>0</span><span>0.25</span><span>0.5</span><span>0.75</span><span>1</span></div></div>'
    )


def reliability_plot(bins: Sequence[Mapping[str, Any]], caption: str) -> str:
    """Return how often answers are right against how sure they are, a dot a bin, larger for more rows.

    Args:
        bins: with ``confidence``, ``accuracy`` and ``rows``; on the diagonal the two agree.
        caption: what is shown.
    """
    if not bins:
        return ""
    most = max(each["rows"] for each in bins)
    dots = "".join(
        f'<b class="dot" style="left:{100 * each["confidence"]:.1f}%;bottom:{100 * each["accuracy"]:.1f}%;'
        f'width:{0.4 + 0.6 * (each["rows"] / most) ** 0.5:.2f}rem" title="{each["rows"]} answers"></b>'
        for each in bins
    )
    path = [(each["confidence"], each["accuracy"]) for each in bins]
    drawn = _line([(0.0, 0.0), (1.0, 1.0)], 1.0, "var(--base)", dashed=True) + _line(path, 1.0, "var(--tuned)")
    return _unit_plot(caption, drawn, 1.0, "share right", "confidence", dots)


def risk_plot(curves: Mapping[str, Sequence[Sequence[float]]], caption: str) -> str:
    """Return the share of wrong answers among the surest ones, against how many are answered.

    Args:
        curves: "base" and "tuned" -> points [share answered, share wrong]; one of them may be missing.
        caption: what is shown.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    top = _ticks(0.0, max(0.05, *(risk for _coverage, risk in points)))[-1]
    drawn = "".join(
        _line([(x, y) for x, y in curve], top, f"var(--{who})", dashed=who == "base") for who, curve in curves.items()
    )
    return _unit_plot(caption, drawn, top, "share wrong", "share answered")


def histogram(counts: Sequence[int], label: str) -> str:
    """Return bars of equal width, the highest as high as the picture."""
    top = max(counts, default=0)
    if not top:
        return ""
    bars = "".join(
        f'<rect x="{i}" y="{1 - n / top:.4f}" width=".86" height="{n / top:.4f}" fill="currentColor"/>'
        for i, n in enumerate(counts)
        if n
    )
    return (
        f'<svg class="spark" viewBox="0 0 {len(counts)} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{bars}</svg>'
    )


def _line(points: Sequence[tuple[float, float]], top: float, colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{_WIDTH * x:.1f},{_HEIGHT * (1 - y / top):.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes} '
        f'vector-effect="non-scaling-stroke"/>'
    )


def _unit_plot(caption: str, drawn: str, top: float, y_name: str, x_name: str, dots: str = "") -> str:
    """Return a plot whose x goes from 0 to 1, and y from 0 to ``top``."""
    ticks = _ticks(0.0, top)
    grid = "".join(
        f'<line x1="0" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)" vector-effect="non-scaling-stroke"/>'
        for y in (_HEIGHT * (1 - tick / top) for tick in ticks[1:])
    )
    y_labels = "".join(f'<span class="y" style="bottom:{100 * tick / top:.1f}%">{tick:g}</span>' for tick in ticks)
    x_labels = "".join(
        f'<span class="x{css}" style="left:{100 * x:g}%">{x:g}</span>'
        for x, css in ((0, " first"), (0.25, ""), (0.5, ""), (0.75, ""), (1, " last"))
    )
    return (
        f'<figure class="chart"><figcaption>{escape(caption)}</figcaption><div class="plot">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(caption)}">'
        f"{grid}{drawn}</svg>{dots}{y_labels}{x_labels}</div>"
        f'<div class="below axes"><span>{escape(y_name)}, upwards</span><span>{escape(x_name)}</span></div></figure>'
    )


def _duel(row: Mapping[str, Any]) -> str:
    grid = "".join(f'<i style="left:{percent}%"></i>' for percent in (0, 25, 50, 75, 100))
    lanes = "".join(_lane(who, row[who], row[f"{who}_interval"]) for who in ("base", "tuned"))
    if row["base"] is None and row["tuned"] is None:
        gain = "undefined"
    elif row["base"] is None or row["tuned"] is None:
        gain = f"{row['tuned'] if row['base'] is None else row['base']:.3f}"
    else:
        gain = f"{row['base']:.3f} → {row['tuned']:.3f}<br>"
        gain += f'<span class="verdict {row["css"]}">{signed_points(row["tuned"] - row["base"])} points</span>'
    return (
        f'<div class="duel"><div class="who"><b>{escape(row["name"])}</b><span>{escape(row["metric"])}</span></div>'
        f'<div class="lanes">{grid}{lanes}</div><div class="gain">{gain}</div></div>'
    )


def _lane(who: str, value: float | None, bounds: Sequence[float] | None) -> str:
    if value is None:
        return ""
    bar = ""
    if bounds:
        bar = f'<u style="left:{100 * bounds[0]:.2f}%;width:{100 * (bounds[1] - bounds[0]):.2f}%"></u>'
    return f'<div class="lane {who}">{bar}<b style="left:{100 * value:.2f}%"></b></div>'


def _ticks(low: float, high: float) -> list[float]:
    """Return about four round numbers around the values."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _TICKS
    size = 10.0 ** _exponent(rough)
    step = next(size * tidy for tidy in _TIDY_STEPS if size * tidy >= rough * 0.999)
    first = step * (low // step)
    ticks = [first]
    while ticks[-1] < high - step * 1e-9:
        ticks.append(first + step * len(ticks))
    return [round(tick, 12) for tick in ticks]


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
