"""Scores files of predictions that any systems made, one alone or two against each other."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.data.sources.names import is_plain
from medtune.errors import SpecError
from medtune.evaluation.comparison import compare
from medtune.evaluation.gold_lint import lint_predictions
from medtune.evaluation.pairing import pair
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.scoring import bind, is_own, score_predictions
from medtune.evaluation.source_survey import SourceSurvey
from medtune.evaluation.task_contracts import TASK_OF_KIND
from medtune.plugins.contracts import Prediction, Task
from medtune.specfile import apply_overrides, read_spec_file, validate_spec
from medtune.specs import EvalSpec, TaskSpec
from medtune.specs.tasks import TaskKind

__all__ = ["score_files", "tasks_in"]

_MOST_KEYS = 8
_NO_CONFIDENCE = (
    "--alpha bounds nothing: no answer that is right or wrong has a 'confidence' between 0 and 1 on its line"
)


def tasks_in(file: Path | None, overrides: Iterable[str]) -> tuple[TaskSpec, ...]:
    """Return the tasks that a spec file and overrides such as ``tasks=[...]`` declare.

    Raises:
        SpecError: an override sets something else, or a table of tasks cannot be used.
        StorageError: the file cannot be read.
    """
    overrides = list(overrides)
    if others := [text for text in overrides if not text.replace(" ", "").startswith("tasks=")]:
        raise SpecError(
            f"'{others[0].partition('=')[0]}' changes no score of given answers; set tasks, or leave it out"
        )
    values = {} if file is None else {"tasks": read_spec_file(file).get("tasks", [])}
    if file is not None and not values["tasks"]:
        raise SpecError(f"'{file}' holds no [[tasks]] table; write one with source and kind")
    return validate_spec(apply_overrides(values, overrides), None if overrides else file).tasks


def score_files(
    file: Path,
    against: Path | None,
    declared: Sequence[TaskSpec],
    registered: Sequence[Task],
    alpha: float | None = None,
) -> dict[str, Any]:
    """Score the predictions of a file, and test them against those of another one.

    Args:
        file: lines of ``{"task", "source", "input", "gold", "prediction"}``.
        against: the same of another system; rows are paired by task, source and input.
        declared: what the user says of sources; the rest is told from the gold answers.
        registered: the registered tasks.
        alpha: share of the trusted answers that may be wrong; None is that of a run by default.

    Returns:
        The JSON of the evaluation and ``lint``; with ``against`` also ``against`` and ``matched`` (the
        other's evaluation and the file's own, on the rows that both answered), ``comparison`` (base: the other) and ``unpaired``: the rows, by their place in the file, that only one of the two answered.

    Raises:
        UndecidedTaskError: what a source is cannot be told from its answers.
        DataError: a line cannot be used, or the two files have no row in common.
    """
    keys = {spec.source: spec.document for spec in declared if spec.document}
    unread: Counter[str] = Counter()
    predictions = read_predictions(file, registered, document_keys=keys, unread=unread)
    predictions, overruled = _as_declared(predictions, declared)
    found = SourceSurvey(declared, [task.name for task in registered if is_own(task)])
    found.take(prediction.example for prediction in predictions)
    tasks = bind(registered, found.contracts())
    result = score_predictions(predictions, tasks, alpha=EvalSpec().alpha if alpha is None else alpha).to_json()
    result["warnings"] += [*overruled, *_unread(unread, keys)]
    if alpha is not None and not any(score["rows"] for score in result.get("trust", {}).get("tasks", {}).values()):
        result["warnings"].append(_NO_CONFIDENCE)
    result["lint"] = [finding.to_json() for finding in [*found.findings(), *lint_predictions(predictions, tasks)]]
    if against is None:
        return result
    others = read_predictions(against, registered, document_keys=keys)
    return {**result, **_against(predictions, others, tasks, against.name)}


def _as_declared(predictions: Sequence[Prediction], declared: Sequence[TaskSpec]) -> tuple[list[Prediction], list[str]]:
    """Return the predictions as rows of the tasks that the user says, and a sentence where rows name others."""
    kinds: dict[str, TaskKind] = {spec.source: spec.kind for spec in declared if spec.kind != "infer"}
    found: list[Prediction] = []
    others: Counter[tuple[str, str, str]] = Counter()
    for prediction in predictions:
        example = prediction.example
        kind: TaskKind | None = kinds.get(example.source) or kinds.get("*")
        task = None if kind is None else TASK_OF_KIND[kind]
        if kind is not None and example.task not in (None, task):
            others[example.source, str(example.task), kind] += 1
            prediction = replace(prediction, example=replace(example, task=task))  # noqa: PLW2901
        found.append(prediction)
    return found, [
        f"{rows:,} rows of source '{source}' name the task '{task}' and are scored as the kind that tasks declares, '{kind}'"
        for (source, task, kind), rows in others.items()
    ]


def _unread(found: Counter[str], documents: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence on the keys that nothing reads."""
    if found:
        named = [
            f"'{key}' ({lines:,})" if is_plain(key) else f"another ({lines:,})" for key, lines in found.most_common()
        ]
        told = f"{', '.join(named[:_MOST_KEYS])}{' and more' if len(named) > _MOST_KEYS else ''}"
        where = (
            ""
            if documents
            else "; the document or patient of a line is read under 'document', or as tasks.document says"
        )
        yield f"keys that are not read, with their lines: {told}{where}"


def _against(
    mine: Sequence[Prediction], others: Sequence[Prediction], tasks: Sequence[Task], name: str
) -> dict[str, Any]:
    pairs = pair(mine, others)
    first, second = pairs.matched
    before, after = score_predictions(second, tasks), score_predictions(first, tasks, intervals=False)
    comparison = compare(before, after, second, first, tasks=tasks).against(name)
    return {
        "against": before.to_json(),
        "matched": after.to_json(),
        "comparison": comparison.to_json(),
        "unpaired": {"file": list(pairs.only_first), "against": list(pairs.only_second)},
    }
