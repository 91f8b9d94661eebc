"""Draws figures as HTML and inline SVG that scale with the page and keep their labels readable."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from medtune.export.page import signed_points

__all__ = ["curve", "duels", "histogram"]

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
