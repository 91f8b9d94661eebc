"""Scores predictions: finds the task of each, and gives figures with intervals per task and per source."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medtune.errors import PluginError, SpecError
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.score_json import scores_to_json
from medtune.evaluation.task_contracts import Contracts
from medtune.evaluation.tasks import own_tasks
from medtune.evaluation.units import lasting_units, units_of
from medtune.plugins.contracts import Example, Prediction, Task, TaskScore

__all__ = [
    "Evaluation",
    "bind",
    "contracts_of",
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
        trust: what the answers' confidence is worth, from ``trust.judge_confidence``; empty where none has one.
        held_out_loss: of the rows, as ``workflow.held_out.told`` gives it; empty when that was not asked for.
        drafts, constrained: task -> how much of its answers was drafted and right; score of answers kept to their form.
        contracts: what each source is, as the tasks know it.
        warnings: what makes figures or intervals less certain than they look, each a sentence.
    """

    tasks: Mapping[str, TaskScore]
    sources: Mapping[str, Mapping[str, TaskScore]] = field(default_factory=dict[str, Mapping[str, TaskScore]])
    unmatched: int = 0
    without_overlap: Mapping[str, TaskScore] = field(default_factory=dict[str, TaskScore])
    label_likelihood: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    held_out_loss: Mapping[str, Any] = field(default_factory=dict[str, Any])
    contracts: Contracts = field(default_factory=Contracts)
    warnings: Sequence[str] = ()
    trust: Mapping[str, Any] = field(default_factory=dict[str, Any])
    drafts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    constrained: Mapping[str, TaskScore] = field(default_factory=dict[str, TaskScore])

    @property
    def over_sources(self) -> dict[str, dict[str, Any]]:
        """Task with several sources -> how many, each figure's mean over those for which it is defined, and these (``of``).

        The figures of ``tasks`` are over rows (micro), so that a large source outweighs small ones; these are macro.
        """
        found: dict[str, dict[str, Any]] = {}
        for task, score in self.tasks.items():
            own = [by_task[task] for by_task in self.sources.values() if task in by_task]
            if len(own) > 1:
                values = {name: [s.metrics[name] for s in own if name in s.metrics] for name in score.metrics}
                metrics = {name: sum(each) / len(each) for name, each in values.items() if each}
                of = {name: len(each) for name, each in values.items() if each}
                found[task] = {"sources": len(own), "metrics": metrics, "of": of}
        return found

    @property
    def macro_score(self) -> float | None:
        """Mean of the tasks' primary figures, by which checkpoints are compared; None where none is defined."""
        primaries = [score.metrics[score.primary] for score in self.tasks.values() if score.primary in score.metrics]
        return sum(primaries) / len(primaries) if primaries else None

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values, without nan."""
        values: dict[str, Any] = {
            "tasks": scores_to_json(self.tasks),
            "sources": {source: scores_to_json(scores) for source, scores in self.sources.items()},
            "unmatched": self.unmatched,
            "macro_score": self.macro_score,
            "over_sources": self.over_sources,
            "contracts": [contract.to_json() for contract in self.contracts.members],
            "warnings": list(self.warnings),
        }
        asked_for = {
            "without_overlap": scores_to_json(self.without_overlap),
            "closed": {name: dict(found) for name, found in self.label_likelihood.items()},  # the key of the beginning
            "trust": dict(self.trust),
            "held_out_loss": dict(self.held_out_loss),
            "constrained": scores_to_json(self.constrained, decoding="constrained"),
            "drafts": {name: dict(found) for name, found in self.drafts.items()},
        }
        return values | {key: found for key, found in asked_for.items() if found}


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


def bind(tasks: Sequence[Task], contracts: Contracts) -> list[Task]:
    """Return the tasks, medtune's own ones told what is known of the sources."""
    own = {task.name: task for task in own_tasks(contracts)}
    return [own[task.name] if is_own(task) and task.name in own else task for task in tasks]


def contracts_of(tasks: Sequence[Task]) -> Contracts:
    """Return what medtune's own tasks know of the sources."""
    found = (getattr(task, "contracts", None) for task in tasks if is_own(task))
    return next((contracts for contracts in found if isinstance(contracts, Contracts)), Contracts())


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
    intervals: bool = True,
    overlapping: Collection[str] = (),
    on_unmatched: Callable[[Prediction], None] | None = None,
    alpha: float | None = None,
) -> Evaluation:
    """Score predictions per task and per source.

    Args:
        predictions: answers of one system; their examples hold the gold answers.
        tasks: the registered tasks.
        intervals: whether 95 % intervals are computed.
        overlapping: row ids that also stand in the training rows; the others are scored once more by themselves.
        on_unmatched: called with each prediction that no task scores.
        alpha: share of the trusted answers that may be wrong, where answers have a confidence; None judges none.

    Raises:
        PluginError: two plugins' tasks claim the same row.
    """
    from medtune.evaluation.correlated_rows import correlation_warnings

    groups = group_by_task(predictions, tasks)
    unmatched = _unmatched(predictions, groups, on_unmatched)
    by_name = {task.name: task for task in tasks}
    scored = {
        name: _TaskRows(by_name[name], [predictions[i] for i in indices], intervals) for name, indices in groups.items()
    }
    return Evaluation(
        tasks={name: rows.score() for name, rows in scored.items()},
        sources=_by_source(scored),
        unmatched=len(unmatched),
        without_overlap=_without(scored, frozenset(overlapping)),
        contracts=contracts_of(tasks),
        warnings=correlation_warnings(predictions) if intervals else (),
        trust={} if alpha is None else _trust(scored, alpha),
    )


def _unmatched(
    predictions: Sequence[Prediction],
    groups: Mapping[str, Sequence[int]],
    tell: Callable[[Prediction], None] | None,
) -> list[Prediction]:
    matched = {index for indices in groups.values() for index in indices}
    found = [prediction for index, prediction in enumerate(predictions) if index not in matched]
    if tell is not None:
        for prediction in found:
            tell(prediction)
    return found


class _TaskRows:
    """The predictions of one task, counted once for all the subsets that are scored."""

    def __init__(self, task: Task, predictions: Sequence[Prediction], intervals: bool) -> None:
        from medtune.evaluation.tally import Tallied

        self._predictions, self._task, self._intervals = predictions, task, intervals
        self.size = len(predictions)
        self._tally = task.tally(predictions) if isinstance(task, Tallied) else None
        self._units = units_of(predictions)
        self._contracts = contracts_of([task])

    def score(self, wanted: Sequence[int] | None = None) -> TaskScore:
        """Score all rows or some."""
        from medtune.evaluation.statistics import summarise

        chosen = self._predictions if wanted is None else [self._predictions[i] for i in wanted]
        if self._tally is None:
            return self._task.score(chosen)
        score = summarise(self._tally, wanted, self._units, intervals=self._intervals)
        asked = {self._contracts.metric_of(prediction.example.source, self._task.name) for prediction in chosen}
        return _with_primary(score, asked.pop()) if len(asked) == 1 else score

    def trust(self, alpha: float) -> tuple[dict[str, Any], dict[str, dict[str, Any]]] | None:
        """Judge the confidence of all rows, and of each source's; None where none has any, or the task counts none per row."""
        from medtune.evaluation.trust import judge_confidence, right_answers

        if self._tally is None or all(prediction.confidence is None for prediction in self._predictions):
            return None
        right, units = right_answers(self._tally), lasting_units(self._predictions)

        def judged(rows: Sequence[int]) -> dict[str, Any]:
            return judge_confidence(
                [self._predictions[i] for i in rows], right[[*rows]], [units[i] for i in rows], alpha
            )

        return judged(range(self.size)), {source: judged(rows) for source, rows in self.by_source().items()}

    def by_source(self) -> dict[str, list[int]]:
        """Return the rows of each source that has a name."""
        groups: dict[str, list[int]] = {}
        for index, prediction in enumerate(self._predictions):
            if source := prediction.example.source:
                groups.setdefault(source, []).append(index)
        return groups

    def without(self, repeated: Collection[str]) -> TaskScore | None:
        """Score the rows whose id is not among ``repeated``; None where these are all, or none.

        They are counted anew: of a document that loses a row, only the others make its union.
        """
        kept = [prediction for prediction in self._predictions if prediction.example.row_id not in repeated]
        return _TaskRows(self._task, kept, self._intervals).score() if 0 < len(kept) < self.size else None


def _with_primary(score: TaskScore, metric: str) -> TaskScore:
    """Return the score with the figure that the user wants to stand for it."""
    if not metric:
        return score
    if metric not in score.metrics and metric not in score.undefined:
        raise SpecError(f"tasks.metric '{metric}' is no figure of these rows; they have {', '.join(score.metrics)}")
    return replace(score, primary=metric)


def _by_source(scored: Mapping[str, _TaskRows]) -> dict[str, dict[str, TaskScore]]:
    sources: dict[str, dict[str, TaskScore]] = {}
    for name, rows in scored.items():
        for source, wanted in rows.by_source().items():
            sources.setdefault(source, {})[name] = rows.score(wanted)
    return dict(sorted(sources.items()))


def _trust(scored: Mapping[str, _TaskRows], alpha: float) -> dict[str, Any]:
    tasks: dict[str, dict[str, Any]] = {}
    sources: dict[str, dict[str, Any]] = {}
    for name, rows in scored.items():
        if (found := rows.trust(alpha)) is not None:
            tasks[name], by_source = found
            for source, judged in by_source.items():
                sources.setdefault(source, {})[name] = judged
    return {"alpha": alpha, "tasks": tasks, "sources": dict(sorted(sources.items()))} if tasks else {}


def _without(scored: Mapping[str, _TaskRows], repeated: frozenset[str]) -> dict[str, TaskScore]:
    """Score the tasks that lose some rows, but not all, when those with a counterpart in training are left out."""
    kept = {name: rows.without(repeated) for name, rows in scored.items()}
    return {name: score for name, score in kept.items() if score is not None}
