"""Compares the tuned model with the base on the same rows and says in words what was gained."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from medtune.errors import DataError
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.scoring import Evaluation, group_by_task
from medtune.evaluation.units import units_of
from medtune.plugins.contracts import Prediction, Task, TaskScore

if TYPE_CHECKING:
    from medtune.evaluation.statistics import Difference

__all__ = ["Answered", "Comparison", "TaskComparison", "compare", "compare_each", "unlike_row"]

_SIGNIFICANCE = 0.05
_BASE = "the base"


@dataclass(frozen=True, slots=True)
class TaskComparison:
    """Tuned against base on one task.

    Attributes:
        metric: the figure compared.
        base: its value for the base.
        tuned: its value for the tuned model.
        rows: rows that both answered.
        interval: 95 % interval of tuned minus base; None where too few rows say anything, or the task does not count per row.
        p_value: of the paired randomisation test, adjusted by Holm over the tasks compared; None for such a task.
        verdict: the finding in words.
    """

    metric: str
    base: float
    tuned: float
    rows: int
    interval: tuple[float, float] | None
    p_value: float | None
    verdict: str

    @property
    def difference(self) -> float:
        """Tuned minus base."""
        return self.tuned - self.base


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tuned against base, task by task."""

    tasks: Mapping[str, TaskComparison]
    other: str = _BASE

    def against(self, other: str) -> "Comparison":
        """Return the comparison with another name for the base, such as a file's."""
        told = {
            name: replace(found, verdict=found.verdict.replace(f" than {_BASE} ", f" than {other} "))
            for name, found in self.tasks.items()
        }
        return Comparison(told, other)

    @property
    def summary(self) -> str:
        """What the tuned model is, over all tasks: "better than the base on ner; ..."; empty when none was compared."""
        kinds = {"better than": "", "no better than": "", "worse than": "", "not tested": " against"}
        names = {kind: [name for name, found in self.tasks.items() if found.verdict.startswith(kind)] for kind in kinds}
        return "; ".join(f"{kind}{kinds[kind]} {self.other} on {', '.join(of)}" for kind, of in names.items() if of)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "tasks": {
                name: {
                    "metric": found.metric,
                    "base": found.base,
                    "tuned": found.tuned,
                    "difference": found.difference,
                    "rows": found.rows,
                    "interval": list(found.interval) if found.interval else None,
                    "p_value": found.p_value,
                    "verdict": found.verdict,
                }
                for name, found in self.tasks.items()
            },
            "summary": self.summary,
        }


class Answered(NamedTuple):
    """Two systems that answered the same rows: scores and answers of both, one as the base, the other as the tuned model."""

    base: Evaluation
    tuned: Evaluation
    base_predictions: Sequence[Prediction]
    tuned_predictions: Sequence[Prediction]


def compare(
    base: Evaluation,
    tuned: Evaluation,
    base_predictions: Sequence[Prediction],
    tuned_predictions: Sequence[Prediction],
    *,
    tasks: Sequence[Task],
    seed: int = 0,
) -> Comparison:
    """Test per task whether the tuned model answers better than the base.

    The test is approximate randomisation on the task's primary figure: the two answers to a row (to all rows of a
    document) are exchanged at random, and the observed difference is held against what that gives. p values are
    adjusted by Holm, because several tasks are tested.

    Args:
        base: scores of the base.
        tuned: scores of the tuned model.
        base_predictions: the base's answers.
        tuned_predictions: the tuned model's answers to the same rows in the same order.
        tasks: the registered tasks.
        seed: the same seed gives the same figures.

    Raises:
        DataError: the two did not answer the same rows in the same order.
    """
    return compare_each([Answered(base, tuned, base_predictions, tuned_predictions)], tasks=tasks, seed=seed)[0]


def compare_each(several: Sequence[Answered], *, tasks: Sequence[Task], seed: int = 0) -> list[Comparison]:
    """Compare several pairs as ``compare`` does one; p values are adjusted by Holm over the tasks of all of them together.

    Raises:
        DataError: the two of a pair did not answer the same rows in the same order.
    """
    from medtune.evaluation.statistics import holm

    tested: list[dict[str, Difference]] = []
    for pair in several:
        _require_same_rows(pair.base_predictions, pair.tuned_predictions)
        figures = {name: score.primary for name, score in pair.tuned.tasks.items()}
        tested.append(_tested(pair.base_predictions, pair.tuned_predictions, tasks, figures, seed))
    p_values = holm({f"{place} {name}": found.p_value for place, of in enumerate(tested) for name, found in of.items()})
    return [
        Comparison(
            {
                name: _compared(pair.base.tasks[name], score, tested[place].get(name), p_values.get(f"{place} {name}"))
                for name, score in pair.tuned.tasks.items()
                if name in pair.base.tasks and all(score.primary in of.metrics for of in (score, pair.base.tasks[name]))
            }
        )
        for place, pair in enumerate(several)
    ]


def unlike_row(base: Sequence[Prediction], tuned: Sequence[Prediction]) -> int | None:
    """Return the first place, from 1 on, where the two do not answer the same row; None where all rows are the same."""
    for place, (one, other) in enumerate(zip(base, tuned, strict=False), 1):
        same_gold = answer_of(one.example) == answer_of(other.example)
        if not same_gold or question_of(one.example) != question_of(other.example):
            return place
    return None if len(base) == len(tuned) else min(len(base), len(tuned)) + 1


def _compared(base: TaskScore, tuned: TaskScore, found: "Difference | None", p_value: float | None) -> TaskComparison:
    figures = base.metrics[tuned.primary], tuned.metrics[tuned.primary]
    interval = found.interval if found else None
    verdict = _verdict(figures[1] - figures[0], interval, p_value, found.units if found else "rows")
    return TaskComparison(tuned.primary, *figures, tuned.rows, interval, p_value, verdict)


def _require_same_rows(base: Sequence[Prediction], tuned: Sequence[Prediction]) -> None:
    if len(base) != len(tuned):
        raise DataError(
            f"the base answered {len(base)} rows and the tuned model {len(tuned)}; score both on the same rows"
        )
    if place := unlike_row(base, tuned):
        raise DataError(f"row {place} of the base is not row {place} of the tuned model; score both on the same rows")


def _tested(
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    tasks: Sequence[Task],
    figures: Mapping[str, str],
    seed: int,
) -> "dict[str, Difference]":
    """Return the differences by task, of those that count per row."""
    by_name = {task.name: task for task in tasks}
    tested: dict[str, Difference] = {}
    for name, indices in group_by_task(tuned, tasks).items():
        own = [base[i] for i in indices], [tuned[i] for i in indices]
        found = _test(by_name[name], *own, figures.get(name, ""), seed)
        if found is not None:
            tested[name] = found
    return tested


def _test(
    task: Task, base: Sequence[Prediction], tuned: Sequence[Prediction], figure: str, seed: int
) -> "Difference | None":
    """Return the difference of a figure; None for a task that does not count it per row, or where it is undefined."""
    from medtune.evaluation.statistics import Sampling, paired_difference, sum_by_unit
    from medtune.evaluation.tally import Tallied

    if not isinstance(task, Tallied):
        return None
    before, after = task.tally(base), task.tally(tuned)
    documents = units_of(tuned)
    units = documents or range(len(tuned))
    counts = sum_by_unit(before.counts, units), sum_by_unit(after.counts, units)
    defined = [
        figure in of and not math.isnan(float(of[figure])) for of in (after.figures(c.sum(axis=0)) for c in counts)
    ]
    if not all(defined):
        return None
    found = paired_difference(*counts, after.figures, figure, Sampling(seed=seed))
    return replace(found, units="rows" if documents is None else "documents")


def _verdict(difference: float, interval: tuple[float, float] | None, p_value: float | None, units: str) -> str:
    points = f"{100 * difference:+.1f} points"
    if p_value is None:
        return f"not tested ({points}): the task does not count per row"
    told = f"too few {units} for an interval"
    if interval is not None:
        told = f"95 % interval {100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"
    figures = f"{points}, {told}, p = {_rounded(p_value)}"
    if p_value >= _SIGNIFICANCE:
        return f"no better than {_BASE} ({figures})"
    return f"{'better' if difference > 0 else 'worse'} than {_BASE} ({figures})"


def _rounded(p_value: float) -> str:
    return f"{p_value:.4f}" if p_value < 0.01 else f"{p_value:.2f}"  # noqa: PLR2004
