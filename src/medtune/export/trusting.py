"""The part of a report that says when to trust an answer: reliability, risk against coverage, thresholds, sets of labels."""

from collections.abc import Iterator, Mapping
from typing import Any

from medtune.errors.visible import html_text as escape
from medtune.export.charts import reliability_plot, risk_plot
from medtune.export.page import ABSENT, Cell, figure, join, section, table

__all__ = ["trust_section"]

_Scores = Mapping[str, Any]
_HEADS = ("answers", "model", "rows", "right", "AUROC", "Brier", "ECE", "risk area", "trust from", "answered", "wrong")
_FIGURES = (
    "Confidence is the probability that the model gives to its whole answer, or to the most probable of the allowed labels. "
    "AUROC: the chance that a right answer is surer than a wrong one. Brier: the mean squared gap between confidence and "
    "being right. ECE: the mean gap between the two in 15 bins of equal width. Risk area: the share of wrong answers, "
    "averaged over how many are answered, the surest first. Smaller is better but for AUROC. Answers that are neither right "
    "nor wrong, such as free texts, are left out."
)


def trust_section(base: _Scores, tuned: _Scores) -> str:
    """Return plots, figures and thresholds of every task whose answers have a confidence."""
    alpha = (tuned.get("trust") or base.get("trust") or {}).get("alpha")
    if alpha is None:
        return ""
    rows = [cells for task in _tasks(base, tuned) for cells in _rows(task, base, tuned)]
    plots = "".join(_plots(task, base, tuned) for task in _tasks(base, tuned))
    sets = _sets(base, tuned)
    legend = '<div class="keys"><span class="base">base</span><span class="tuned">tuned</span></div>'
    return section(
        "When to trust an answer",
        "trust",
        f'<p class="note">{escape(_promise(alpha))}</p>',
        legend if plots else "",
        plots,
        table(_HEADS, rows, left=2, stack=True),
        f'<p class="note">{escape(_FIGURES)}</p>',
        f"<h3>Sets of labels</h3>{sets}" if sets else "",
    )


def _promise(alpha: float) -> str:
    share = f"{100 * alpha:g} %"
    return (
        f"Of answers whose confidence is at least that under \u201ctrust from\u201d, at most {share} are wrong, with 95 % chance over "
        "the rows that the threshold was chosen on: one half of those scored, drawn at random, documents whole. \u201cAnswered\u201d "
        "and \u201cwrong\u201d are of the other half. This holds for rows drawn independently from where these come from, and for "
        "no other hospital's, time's or model's; rows of the same document make it approximate."
    )


def _tasks(base: _Scores, tuned: _Scores) -> list[str]:
    return sorted({task for scores in (base, tuned) for task in scores.get("trust", {}).get("tasks", {})})


def _plots(task: str, base: _Scores, tuned: _Scores) -> str:
    found = {
        who: scores["trust"]["tasks"][task]
        for who, scores in (("base", base), ("tuned", tuned))
        if task in scores.get("trust", {}).get("tasks", {})
    }
    shown = found.get("tuned") or found["base"]
    if not shown["rows"]:
        return ""
    curves = {who: each["risk_coverage"]["points"] for who, each in found.items()}
    whose = "tuned" if "tuned" in found else "base"
    return (
        f'<h3>{escape(task)}</h3><div class="pair">'
        f"{reliability_plot(shown['bins'], f'How often answers are right against how sure they are ({whose})')}"
        f"{risk_plot(curves, 'Wrong answers among the surest ones')}</div>"
    )


def _rows(task: str, base: _Scores, tuned: _Scores) -> Iterator[list[Cell]]:
    """Yield a row for the task and its most probable labels, of either model, and for each source where there are several."""
    for model, scores in (("base", base), ("tuned", tuned)):
        trust, labels = scores.get("trust", {}), scores.get("closed", {}).get(task, {})
        if trust.get("tasks", {}).get(task, {}).get("rows"):
            yield _row(task, model, trust["tasks"][task])
        if "trust" in labels:
            yield _row(f"{task}, most probable label", model, labels["trust"])
    own = {
        s: by_task[task]
        for s, by_task in tuned.get("trust", {}).get("sources", {}).items()
        if by_task.get(task, {}).get("rows")
    }
    if len(own) > 1:
        yield from (_row(f"{task}: {source}", "tuned", found) for source, found in own.items())


def _row(name: str, model: str, found: Mapping[str, Any]) -> list[Cell]:
    told = found["abstention"]
    few, _colon, _why = (
        str(told["reason"]).partition(":") if str(told["reason"]).startswith("too few") else ("none enough", "", "")
    )
    values = (found["right"], found["auroc"], found["brier"], found["ece"], found["risk_coverage"]["area"])
    return [
        *(Cell.text(value) for value in (name, model, f"{found['rows']:,}")),
        *(Cell(figure(value)) for value in values),
        Cell(f"{told['threshold']:.4g}" if told["threshold"] is not None else f"<small>{few}</small>"),
        Cell(f"{100 * told['answered']:.0f}\N{NO-BREAK SPACE}%" if told["threshold"] is not None else ABSENT),
        Cell(figure(told["error"])),
    ]


def _sets(base: _Scores, tuned: _Scores) -> str:
    """Return the sets of labels that hold the right one as often as they say, per task."""
    rows: list[list[Cell]] = []
    for model, scores in (("base", base), ("tuned", tuned)):
        for task, found in sorted(scores.get("closed", {}).items()):
            if sets := found.get("sets"):
                shares = (sets["coverage"], sets["single"], sets["empty"])
                size = ABSENT if sets["mean_size"] is None else f"{sets['mean_size']:.2f}"
                cells = (Cell(figure(share)) for share in shares)
                rows.append([*map(Cell.text, (task, model)), Cell(size), *cells, Cell.text(sets["reason"])])
    heads = ("task", "model", "labels on average", "hold the right one", "one label", "no label", "")
    shown = table(heads, rows, left=2, stack=True)
    note = (
        "Split conformal prediction: a set holds every label that is probable enough. Over draws of the half that it was "
        "calibrated on and of a further row, both exchangeable, a set misses the right label with chance alpha at most."
    )
    return join(shown, f'<p class="note">{note}</p>') if shown else ""
