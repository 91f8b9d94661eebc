"""The parts of a report that show scores: base against tuned, per source, every figure, and what lies behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.data.score_words import figure_name, rows_of_figure
from medtune.errors.visible import html_text as escape
from medtune.export.charts import duels
from medtune.export.page import ABSENT, Cell, figure, interval_of, join, p_value, section, signed_points, table

__all__ = ["every_figure", "failure_table", "label_likelihoods", "other_words", "verdicts"]

_Scores = Mapping[str, Any]
_CSS = {"better": "better", "worse": "worse"}
_SHADE = 78  # per cent of colour in the fullest cell of a confusion matrix


def verdicts(base: _Scores, tuned: _Scores, comparison: Mapping[str, Any]) -> str:
    """Return the chart and table of the primary figure of each task, and the table per source."""
    compared = comparison.get("tasks", {})
    tasks = _names(base.get("tasks", {}), tuned.get("tasks", {}))
    pairs = [(name, *_pair(base, tuned, name)) for name in tasks]
    overlap = table(
        ("task", "metric", "rows", "base", "tuned", "difference"),
        [
            _row(name, before, after)
            for name, before, after in (
                (name, base.get("without_overlap", {}).get(name), tuned.get("without_overlap", {}).get(name))
                for name in tasks
            )
            if before or after
        ],
        left=2,
        stack=True,
    )
    return section(
        "Base against tuned",
        "scores",
        duels([_duel(name, before, after, compared.get(name)) for name, before, after in pairs]),
        table(
            ("task", "metric", "rows", "base", "tuned", "difference", "verdict"),
            [
                [*_row(name, before, after, compared.get(name)), _verdict(compared.get(name))]
                for name, before, after in pairs
            ],
            left=2,
            stack=True,
        ),
        _by_source(base, tuned),
        join(f"<h3>Rows that do not also stand in the training rows</h3>{overlap}") if overlap else "",
    )


def label_likelihoods(base: _Scores, tuned: _Scores) -> str:
    """Return scores by free answers, by constrained ones and by label likelihood, and its calibration."""
    rows: list[list[Cell]] = []
    for task in _names(base.get("closed", {}), tuned.get("closed", {})):
        for model, scores in (("base", base), ("tuned", tuned)):
            if found := scores.get("closed", {}).get(task):
                metric = found["free"].get("primary", "")
                ways = (found[way].get("metrics", {}).get(metric) for way in ("free", "constrained", "most_probable"))
                first = (Cell.text(value) for value in (task, figure_name(metric), model))
                error = Cell(figure(found["calibration"]["ece"]))
                rows.append([*first, Cell.text(found["rows"]), *(Cell(figure(way)) for way in ways), error])
    heads = ("task", "metric", "model", "rows", "free", "constrained", "most probable", "calibration error")
    shown = table(heads, rows, left=3, stack=True)
    note = (
        "Free answers are decoded without restriction; constrained ones may only spell an allowed answer; the most "
        "probable is the allowed answer with the greatest probability as a whole. The calibration error is the mean gap "
        "between that answer's probability among the allowed ones and how often it is right."
    )
    return section("Label likelihood", "label-likelihood", shown, f'<p class="note">{note}</p>') if shown else ""


def other_words(paraphrases: Mapping[str, Any]) -> str:
    """Return how the main figure of each task varies when the same rows are asked in other words."""
    rows = [
        [
            Cell.text(task),
            Cell.text(figure_name(found["metric"])),
            Cell(str(len(found["values"]))),
            *(Cell(figure(found[name])) for name in ("lowest", "mean", "highest")),
        ]
        for task, found in sorted(paraphrases.get("tasks", {}).items())
    ]
    shown = table(("task", "metric", "paraphrases", "lowest", "mean", "highest"), rows, left=2, stack=True)
    note = (
        f"The tuned model answered the same {paraphrases.get('rows', 0):,} rows once under each paraphrase; the instructions of "
        "a source take turns. A task that is learned does not depend on the words it is asked in."
    )
    return section("In other words", "paraphrases", shown, f'<p class="note">{note}</p>') if shown else ""


def failure_table(base: _Scores, tuned: _Scores) -> str:
    """Return the rates of unusable answers per task."""
    rows: list[list[Cell]] = []
    seen: set[str] = set()
    for name in _names(base.get("tasks", {}), tuned.get("tasks", {})):
        before, after = _pair(base, tuned, name)
        for kind in dict.fromkeys([*(before or after or {}).get("failures", {})]):
            values = [score.get("failures", {}).get(kind) if score else None for score in (before, after)]
            if any(values):
                is_first = name not in seen
                seen.add(name)
                rows.append(
                    [
                        Cell.text(name if is_first else ""),
                        Cell.text(figure_name(kind)),
                        *(Cell(_percent(value)) for value in values),
                    ]
                )
    return table(("task", "failure", "base", "tuned"), rows, left=2)


def every_figure(base: _Scores, tuned: _Scores) -> str:
    """Return all metrics of each task, and the entity types, labels and confusion matrices behind them."""
    parts: list[str] = []
    for name in _names(base.get("tasks", {}), tuned.get("tasks", {})):
        before, after = _pair(base, tuned, name)
        last = after or before or {}
        rows = [
            [Cell.text(figure_name(metric)), *_both(before, metric), *_both(after, metric)]
            for metric in last.get("metrics", {})
        ]
        details = last.get("details", {})
        parts.append(
            join(
                f"<h3>{escape(name)}, {last.get('rows', 0):,} rows</h3>",
                table(("metric", "base", "95 % interval", "tuned", "95 % interval"), rows, stack=True),
                _per_label(details.get("entity_types") or details.get("labels") or {}, after is not None),
                _confusion(details.get("confusion"), after is not None),
            )
        )
    return section("Every figure", "figures", *parts)


def _names(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> list[str]:
    return sorted({*base, *tuned})


def _pair(base: _Scores, tuned: _Scores, task: str) -> tuple[_Scores | None, _Scores | None]:
    return base.get("tasks", {}).get(task), tuned.get("tasks", {}).get(task)


def _value(score: _Scores | None, metric: str) -> float | None:
    return score.get("metrics", {}).get(metric) if score else None


def _bounds(score: _Scores | None, metric: str) -> Sequence[float] | None:
    return score.get("intervals", {}).get(metric) if score else None


def _primary(before: _Scores | None, after: _Scores | None) -> str:
    return str((after or before or {}).get("primary", ""))


def _duel(
    name: str, before: _Scores | None, after: _Scores | None, compared: Mapping[str, Any] | None
) -> dict[str, Any]:
    metric = _primary(before, after)
    return {
        "name": name,
        "metric": figure_name(metric),
        "base": _value(before, metric),
        "tuned": _value(after, metric),
        "base_interval": _bounds(before, metric),
        "tuned_interval": _bounds(after, metric),
        "css": _css(compared),
    }


def _row(
    name: str, before: _Scores | None, after: _Scores | None, compared: Mapping[str, Any] | None = None
) -> list[Cell]:
    metric = _primary(before, after)
    values = [_value(score, metric) for score in (before, after)]
    difference = None if None in values else values[1] - values[0]  # type: ignore[operator]
    bounds = (compared or {}).get("interval")
    span = f"<br><small>{signed_points(bounds[0])} to {signed_points(bounds[1])}</small>" if bounds else ""
    return [
        Cell.text(name),
        Cell.text(figure_name(metric)),
        Cell(f"{rows_of_figure(after or before or {}, metric):,}"),
        *(
            Cell(f"<span>{figure(value)}<br>{interval_of(score, metric)}</span>")
            for value, score in zip(values, (before, after), strict=True)
        ),
        Cell(f"<span>{signed_points(difference)}{span}</span>"),
    ]


def _verdict(compared: Mapping[str, Any] | None) -> Cell:
    if not compared:
        return Cell("")
    words, _open, _figures = str(compared["verdict"]).partition(" (")
    return Cell(f'<span><span class="verdict {_css(compared)}">{escape(words)}</span>{p_value(compared)}</span>')


def _css(compared: Mapping[str, Any] | None) -> str:
    return _CSS.get(str((compared or {}).get("verdict", "")).partition(" ")[0], "even")


def _by_source(base: _Scores, tuned: _Scores) -> str:
    rows: list[list[Cell]] = []
    for source in _names(base.get("sources", {}), tuned.get("sources", {})):
        before, after = base.get("sources", {}).get(source, {}), tuned.get("sources", {}).get(source, {})
        rows += [[Cell.text(source), *_row(task, before.get(task), after.get(task))] for task in _names(before, after)]
    if not rows:
        return ""
    columns = ("source", "task", "metric", "rows", "base", "tuned", "difference")
    return f"<h3>By source</h3>{table(columns, rows, left=3, stack=True)}"


def _both(score: _Scores | None, metric: str) -> tuple[Cell, Cell]:
    return Cell(figure(_value(score, metric))), Cell(interval_of(score, metric))


def _per_label(labels: Mapping[str, Mapping[str, float]], is_tuned: bool) -> str:
    if not labels:
        return ""
    columns = [key for key in ("precision", "recall", "f1", "support") if key in next(iter(labels.values()))]
    rows = [
        [
            Cell.text(label),
            *(Cell(f"{facts[key]:,.0f}" if key == "support" else figure(facts[key])) for key in columns),
        ]
        for label, facts in labels.items()
    ]
    whose = "tuned" if is_tuned else "base"
    return table((f"label ({whose})", *("gold rows or spans" if key == "support" else key for key in columns)), rows)


def _confusion(matrix: Mapping[str, Any] | None, is_tuned: bool) -> str:
    if not matrix:
        return ""
    top = max((max(row) for row in matrix["rows"]), default=0) or 1
    rows = [
        [Cell.text(gold), *(_shaded(count, top, matrix["answer"][i] == gold) for i, count in enumerate(counts))]
        for gold, counts in zip(matrix["gold"], matrix["rows"], strict=True)
    ]
    return table((f"gold \\ answer ({'tuned' if is_tuned else 'base'})", *matrix["answer"]), rows)


def _shaded(count: int, top: int, is_right: bool) -> Cell:
    if not count:
        return Cell('<span class="soft">0</span>', "cell")
    mark = "--gold-mark" if is_right else "--bad-mark"
    shade = f"color-mix(in srgb, var({mark}) {100 - _SHADE + _SHADE * count // top}%, transparent)"
    return Cell(f'<span style="display:block;background:{shade}">{count}</span>', "cell")


def _percent(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
