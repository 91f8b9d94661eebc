"""Draws the pictures of the documents as SVG: scores and loss from a run folder, memory and speed from the measured tables, and ways.

Usage: python tools/pictures.py [RUN], from the root of the repository; without RUN the pictures of a run stay as they are.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["WAYS", "loss_picture", "memory_picture", "scores_picture", "speed_picture", "way_picture"]

DOCS = Path(__file__).parents[1] / "docs"
_NAMES = {
    "ner": "entities",
    "relation": "relations",
    "nli": "inference",
    "classification": "hallmarks",
    "qa": "questions",
}
_METRICS = {"span_f1_strict": "strict span F1", "micro_f1": "micro F1", "accuracy": "accuracy"}
WAYS = {
    "way-of-data": (
        "From a file to what the model sees",
        ("your file", "JSONL, CSV, ..."),
        ("roles", "of your columns"),
        ("example", "asked, answered"),
        ("tokens", "loss on answers"),
        ("rows held out", "to score on"),
    ),
    "way-of-a-base": (
        "What happens to a base before it is trained",
        ("folder or hub", "safetensors only"),
        ("inspected", "before loading"),
        ("loaded", "4, 8 or 16 bits"),
        ("proved", "loss, gradients"),
        ("trained", "the adapter alone"),
    ),
    "way-of-a-run": (
        "What a run does, in order",
        ("rows", "read and checked"),
        ("base score", "before training"),
        ("training", "can stop, goes on"),
        ("adapter", "saved and proved"),
        ("tuned score", "and the report"),
    ),
    "way-out": (
        "How an export is proved",
        ("run", "adapter and base"),
        ("artifact", "merged, GGUF, ..."),
        ("loaded again", "in a new process"),
        ("compared", "answers, logits"),
        ("done", "or put aside"),
    ),
    "way-locked": (
        "A run on patients' texts",
        ("bring", "model and data"),
        ("scan", "for identifiers"),
        ("train", "locked"),
        ("audit", "what it keeps"),
        ("sign", "and hand over"),
    ),
}
"""Picture -> its title, and the stations of a way, each with a word on it."""
_STYLE = (
    ".box{fill:#eef3f9;stroke:#1d5fa8}text{font:13px system-ui,sans-serif;fill:#333}.soft{fill:#595959}.line{stroke:#d5d9de}.base{fill:#6b6b6b;stroke:#6b6b6b}"
    ".tuned{fill:#1d5fa8;stroke:#1d5fa8}.bar{opacity:.35}.paper{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e8e8e8}.soft{fill:#b5b5b5}.line{stroke:#3b4046}.base{fill:#a3a3a3;stroke:#a3a3a3}"
    ".box{fill:#1d2733;stroke:#6fb1f5}.tuned{fill:#6fb1f5;stroke:#6fb1f5}.paper{fill:#16181b}}"
)
_LEFT, _RIGHT, _WIDTH = 190, 120, 760


def scores_picture(base: dict[str, Any], tuned: dict[str, Any]) -> str:
    """Return base against tuned, a line per task, with intervals."""
    parts, y = [_key(("base", "base"), ("tuned", "tuned"))], 70
    tasks = [name for name in _NAMES if name in tuned["tasks"]]
    parts += _scale(60, 70 + 44 * len(tasks) - 12, [0, 0.25, 0.5, 0.75, 1.0], 1.0, "{:g}")
    for name in tasks:
        before, after = base["tasks"][name], tuned["tasks"][name]
        metric = after["primary"]
        parts.append(_text(_LEFT - 14, y + 8, _NAMES[name], "end"))
        parts.append(_text(_LEFT - 14, y + 24, f"{_METRICS.get(metric, metric)}, {after['rows']} rows", "end", "soft"))
        for place, (score, who) in enumerate(((before, "base"), (after, "tuned"))):
            value, bounds = score["metrics"][metric], score.get("intervals", {}).get(metric)
            at = y + 2 + 14 * place
            if bounds:
                low, high = _x(bounds[0], 1.0), _x(bounds[1], 1.0)
                parts.append(
                    f'<rect class="{who} bar" stroke="none" x="{low:.1f}" y="{at - 3}" width="{high - low:.1f}" height="6"/>'
                )
            parts.append(f'<circle class="{who}" cx="{_x(value, 1.0):.1f}" cy="{at}" r="5"/>')
        told = f"{before['metrics'][metric]:.2f} → {after['metrics'][metric]:.2f}"
        parts.append(_text(_WIDTH - _RIGHT + 16, y + 14, told))
        y += 44
    return _svg(y + 24, "Base against tuned on the demo's five tasks, with 95 % intervals", parts)


def loss_picture(log: Sequence[dict[str, Any]]) -> str:
    """Return the training loss over the updates."""
    points = [(record["step"], record["loss"]) for record in log if record.get("loss") is not None]
    last, top, height = points[-1][0], float(int(max(y for _x, y in points)) + 1), 220
    parts = [_text(_LEFT - 130, 24, "loss, nats per supervised token", css="soft")]
    for tick in range(int(top) + 1):
        y = 40 + height * (1 - tick / top)
        parts.append(f'<line class="line" x1="60" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(50, y + 4, f"{tick}", "end", "soft"))
    drawn = " ".join(f"{60 + (_WIDTH - 80) * x / last:.1f},{40 + height * (1 - y / top):.1f}" for x, y in points)
    parts.append(f'<polyline class="tuned" style="fill:none" stroke-width="2.5" points="{drawn}"/>')
    parts.append(_text(60, height + 62, "0", css="soft"))
    parts.append(_text(_WIDTH - 20, height + 62, f"update {last}", "end", "soft"))
    return _svg(height + 76, "Training loss of the demo over its updates", parts)


def memory_picture(page: str) -> str:
    """Return predicted against measured peaks, a dot a setting, of the table on the page."""
    rows = re.findall(r"^\| (?:nf4|bf16|fp8)[^|]*\|[^|]*\|[^|]*\|[^|]*\| ([\d.]+) \| ([\d.]+) \|", page, re.MULTILINE)
    size, top = 340, 50.0
    parts = [
        f'<line class="line" x1="70" y1="{40 + size}" x2="{70 + size}" y2="40" stroke-dasharray="5 4"/>',
        _text(70 + size + 20, 60, f"{len(rows)} settings of a 7B base"),
        _text(70 + size + 20, 80, "on the dashed line the plan is right", css="soft"),
        _text(70, 24, "measured peak, GiB", css="soft"),
        _text(70 + size, size + 84, "predicted peak, GiB", "end", "soft"),
    ]
    for tick in range(0, int(top) + 1, 10):
        x, y = 70 + size * tick / top, 40 + size * (1 - tick / top)
        parts.append(f'<line class="line" x1="70" x2="{70 + size}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts += [_text(60, y + 4, f"{tick}", "end", "soft"), _text(x, size + 60, f"{tick}", "middle", "soft")]
    for predicted, measured in rows:
        x, y = 70 + size * float(predicted) / top, 40 + size * (1 - float(measured) / top)
        parts.append(f'<circle class="tuned" fill-opacity=".6" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
    return _svg(size + 96, "Predicted against measured peak memory in GiB", parts)


def speed_picture(page: str) -> str:
    """Return tokens per second of medtune and of its peer, of the table on the page."""
    found = re.findall(
        r"^\| (training[^|]*) \| (\w+) \| ([\d,]+) tokens/s \| ([\d,]+) \| ([\d.]+) \|", page, re.MULTILINE
    )
    top, y = 35_000.0, 70
    parts = [_key(("tuned", "medtune"), ("base", "unsloth"))]
    parts += _scale(60, 70 + 48 * len(found) - 12, [0, 10_000, 20_000, 30_000], top, "{:,.0f}")
    for what, base, own, peer, times in found:
        parts.append(_text(_LEFT - 14, y + 8, what.removeprefix("training, "), "end"))
        parts.append(_text(_LEFT - 14, y + 24, f"base in {base}", "end", "soft"))
        for place, (value, who) in enumerate(((own, "tuned"), (peer, "base"))):
            wide = _x(float(value.replace(",", "")), top) - _LEFT
            parts.append(
                f'<rect class="{who}" x="{_LEFT}" y="{y - 4 + 15 * place}" width="{wide:.1f}" height="12" stroke="none"/>'
            )
        parts.append(_text(_WIDTH - _RIGHT + 16, y + 14, f"{times} times"))
        y += 48
    return _svg(y + 24, "Training tokens per second on one H200, medtune beside unsloth", parts)


def way_picture(title: str, *stations: tuple[str, str]) -> str:
    """Return stations from left to right, with an arrow between two of them."""
    wide, step, parts = 128, 148, list[str]()
    for place, (name, word) in enumerate(stations):
        x = 20 + step * place
        parts.append(f'<rect class="box" x="{x}" y="18" width="{wide}" height="58" rx="8"/>')
        parts += [_text(x + wide / 2, 42, name, "middle"), _text(x + wide / 2, 62, word, "middle", "soft")]
        if place:
            parts.append(f'<path class="tuned" stroke="none" d="M{x - 16} 42 l12 5 l-12 5 z"/>')
    return _svg(94, title, parts)


def _x(value: float, top: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * value / top


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{text}</text>'


def _key(*entries: tuple[str, str]) -> str:
    drawn = ""
    for place, (css, name) in enumerate(entries):
        x = _LEFT + 100 * place
        drawn += f'<circle class="{css}" cx="{x}" cy="26" r="5"/>{_text(x + 12, 30, name)}'
    return drawn


def _scale(above: float, below: float, ticks: Iterable[float], top: float, form: str) -> list[str]:
    parts: list[str] = []
    for tick in ticks:
        x = _x(tick, top)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{above}" y2="{below}"/>')
        parts.append(_text(x, below + 18, form.format(tick), "middle", "soft"))
    return parts


def _svg(height: float, title: str, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{title}">'
        f"<title>{title}</title><style>{_STYLE}</style>"
        f'<rect class="paper" width="100%" height="100%" rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    """Write the pictures."""
    drawn = {
        "memory": memory_picture((DOCS / "measurements" / "memory.md").read_text()),
        "speed": speed_picture((DOCS / "speed.md").read_text()),
        **{name: way_picture(title, *stations) for name, (title, *stations) in WAYS.items()},
    }
    if len(sys.argv) > 1:
        run = Path(sys.argv[1])
        base, tuned = (json.loads((run / "evaluation" / f"{who}.json").read_text()) for who in ("base", "tuned"))
        drawn["scores"] = scores_picture(base, tuned)
        drawn["loss"] = loss_picture([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()])
    for name, text in drawn.items():
        (DOCS / "pictures" / f"{name}.svg").write_text(text)


if __name__ == "__main__":
    main()
