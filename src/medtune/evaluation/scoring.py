"""Scores predictions: finds the task of each, and gives figures with intervals per task and per source."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medtune.errors import PluginError
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.plugins.contracts import Example, Prediction, Task, TaskScore

__all__ = [
    "Evaluation",
    "find_task",
    "group_by_task",
    "is_own",
    "read_predictions",
    "score_predictions",
    "write_predictions",
]

_OWN_TASKS = "medtune.evaluation.tasks."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one system.

    Attributes:
        tasks: task -> score.
        sources: source -> task -> score, for rows that name their source.
        unmatched: predictions that belong to no task and are not scored.
        without_overlap: task -> score on the rows that do not also stand in the training rows; empty when all are such.
        label_likelihood: task -> JSON values from ``score_label_likelihood``; empty when that was not asked for.
    """

    tasks: Mapping[str, TaskScore]
    sources: Mapping[str, Mapping[str, TaskScore]] = field(default_factory=dict[str, Mapping[str, TaskScore]])
    unmatched: int = 0
    without_overlap: Mapping[str, TaskScore] = field(default_factory=dict[str, TaskScore])
    label_likelihood: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def macro_score(self) -> float:
        """Mean of the tasks' primary figures, by which checkpoints are compared; 0.0 when nothing was scored."""
        primaries = [score.metrics[score.primary] for score in self.tasks.values() if score.primary in score.metrics]
        return sum(primaries) / len(primaries) if primaries else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values, without nan."""
        values: dict[str, Any] = {
            "tasks": {name: _to_json(score) for name, score in self.tasks.items()},
            "sources": {
                source: {name: _to_json(score) for name, score in scores.items()}
                for source, scores in self.sources.items()
            },
            "unmatched": self.unmatched,
            "macro_score": self.macro_score,
        }
        if self.without_overlap:
            values["without_overlap"] = {name: _to_json(score) for name, score in self.without_overlap.items()}
        if self.label_likelihood:  # under the key that files have had from the beginning
            values["closed"] = {name: dict(found) for name, found in self.label_likelihood.items()}
        return values


def find_task(example: Example, tasks: Sequence[Task]) -> Task | None:
    """Return the one task that scores ``example``, None when none does.

    The example's own ``task`` decides. Otherwise the task that matches; where a plugin's task and one of medtune's own
    both match, the plugin's does, because it was installed on purpose.

    Raises:
        PluginError: two plugins' tasks claim the example.
    """
    if example.task is not None:
        return next((task for task in tasks if task.name == example.task), None)
    claims = [task for task in tasks if task.matches(example)]
    chosen = [task for task in claims if not is_own(task)] or claims
    if len(chosen) > 1:
        names = " and ".join(f"'{task.name}'" for task in chosen)
        where = f"row '{example.row_id}' of " * bool(example.row_id) + f"source '{example.source}'"
        raise PluginError(
            f"tasks {names} both claim {where}; let only one match it, or set Example.task in its formatter"
        )
    return chosen[0] if chosen else None


def is_own(task: Task) -> bool:
    """Whether a task is one of medtune's own."""
    return type(task).__module__.startswith(_OWN_TASKS)


def group_by_task(predictions: Sequence[Prediction], tasks: Sequence[Task]) -> dict[str, list[int]]:
    """Return task name -> indices of its predictions, tasks in the order of their names."""
    groups: dict[str, list[int]] = {}
    for index, prediction in enumerate(predictions):
        task = find_task(prediction.example, tasks)
        if task is not None:
            groups.setdefault(task.name, []).append(index)
    return dict(sorted(groups.items()))


def score_predictions(
    predictions: Sequence[Prediction],
    tasks: Sequence[Task],
    *,
    resamples: int = 1000,
    seed: int = 0,
    overlapping: Collection[str] = (),
    on_unmatched: Callable[[Prediction], None] | None = None,
) -> Evaluation:
    """Score predictions per task and per source.

    Args:
        predictions: answers of one system; their examples hold the gold answers.
        tasks: the registered tasks.
        resamples: bootstrap resamples behind the 95 % intervals; 0 leaves intervals out.
        seed: the same seed gives the same intervals.
        overlapping: row ids that also stand in the training rows; the others are scored once more by themselves.
        on_unmatched: called with each prediction that no task scores.

    Raises:
        PluginError: two plugins' tasks claim the same row.
    """
    from medtune.evaluation.statistics import Sampling

    groups = group_by_task(predictions, tasks)
    unmatched = _unmatched(predictions, groups)
    if on_unmatched is not None:
        for prediction in unmatched:
            on_unmatched(prediction)
    by_name = {task.name: task for task in tasks}
    sampling = Sampling(resamples=resamples, seed=seed)
    scored = {
        name: _TaskRows(by_name[name], [predictions[i] for i in indices], sampling) for name, indices in groups.items()
    }
    return Evaluation(
        tasks={name: rows.score() for name, rows in scored.items()},
        sources=_by_source(scored),
        unmatched=len(unmatched),
        without_overlap=_without(scored, frozenset(overlapping)),
    )


def _unmatched(predictions: Sequence[Prediction], groups: Mapping[str, Sequence[int]]) -> list[Prediction]:
    matched = {index for indices in groups.values() for index in indices}
    return [prediction for index, prediction in enumerate(predictions) if index not in matched]


class _TaskRows:
    """The predictions of one task, counted once for all the subsets that are scored."""

    def __init__(self, task: Task, predictions: Sequence[Prediction], sampling: Any) -> None:
        from medtune.evaluation.tally import Tallied

        self._predictions, self._task, self._sampling = predictions, task, sampling
        self.size = len(predictions)
        self._tally = task.tally(predictions) if isinstance(task, Tallied) else None
        self._units = units_of(predictions)

    def score(self, wanted: Sequence[int] | None = None) -> TaskScore:
        """Score all rows or some."""
        from medtune.evaluation.statistics import summarise

        if self._tally is None:
            return self._task.score([self._predictions[i] for i in wanted] if wanted is not None else self._predictions)
        return summarise(self._tally, wanted, self._units, self._sampling)

    def by_source(self) -> dict[str, list[int]]:
        """Return the rows of each source that has a name."""
        groups: dict[str, list[int]] = {}
        for index, prediction in enumerate(self._predictions):
            if source := prediction.example.source:
                groups.setdefault(source, []).append(index)
        return groups

    def without(self, repeated: Collection[str]) -> list[int]:
        """Return the rows whose id is not among ``repeated``."""
        return [i for i, prediction in enumerate(self._predictions) if prediction.example.row_id not in repeated]


def _by_source(scored: Mapping[str, _TaskRows]) -> dict[str, dict[str, TaskScore]]:
    sources: dict[str, dict[str, TaskScore]] = {}
    for name, rows in scored.items():
        for source, wanted in rows.by_source().items():
            sources.setdefault(source, {})[name] = rows.score(wanted)
    return dict(sorted(sources.items()))


def _without(scored: Mapping[str, _TaskRows], repeated: frozenset[str]) -> dict[str, TaskScore]:
    """Score the tasks that lose some rows, but not all, when those with a counterpart in training are left out."""
    kept = {name: rows.without(repeated) for name, rows in scored.items()}
    return {name: scored[name].score(rows) for name, rows in kept.items() if 0 < len(rows) < scored[name].size}


def units_of(predictions: Sequence[Prediction]) -> list[Hashable] | None:
    """Return what is resampled together: the document where a row names one, else the row; None when none does."""
    if not any(prediction.example.document for prediction in predictions):
        return None
    return [
        (prediction.example.source, prediction.example.document) if prediction.example.document else index
        for index, prediction in enumerate(predictions)
    ]


def _to_json(score: TaskScore) -> dict[str, Any]:
    return {
        "rows": score.rows,
        "primary": score.primary,
        "metrics": dict(score.metrics),
        "intervals": {name: list(interval) for name, interval in score.intervals.items()},
        "failures": dict(score.failures),
        "details": dict(score.details),
    }
