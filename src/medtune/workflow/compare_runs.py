"""Puts runs side by side: what differs between them, and how each one's answers are tested against the first one's."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from medtune.data.score_words import rows_of_figure
from medtune.errors import DamagedArtifactError, DataError, SpecError
from medtune.evaluation.comparison import Answered, compare_each
from medtune.evaluation.pairing import pair
from medtune.evaluation.predictions import read_predictions
from medtune.evaluation.recognition import answer_of, question_of
from medtune.evaluation.scoring import score_predictions
from medtune.export.side_by_side import RunTable, html_page, sentences, tables
from medtune.plugins.contracts import Prediction, Task
from medtune.plugins.host import PluginHost
from medtune.runs.durable import replace_file
from medtune.runs.folder import RunFolder
from medtune.runs.record.recording import recorded_around
from medtune.specs.bounded import json_file
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.run import Run
from medtune.workflow.settled_tasks import settled

__all__ = ["RunTable", "compare_runs", "sentences", "tables", "write_page"]

_FIGURES = ("state", "steps", "train_loss", "seconds", "tokens_per_second", "peak_memory_gib")
_PRINTS = ("data", "model", "prompt_contract")
_BESIDE = "output_dir"
"""The one field that no two runs share."""


def compare_runs(paths: Sequence[str | Path], host: PluginHost) -> dict[str, Any]:
    """Compare finished or unfinished runs with the first of them; loads no model.

    Args:
        paths: of two run folders or more.
        host: finds the tasks.

    Returns:
        ``runs``, each with a letter as ``name``, its figures, its ``fingerprints``, its ``held_out_loss``, its ``scores``
        and the ``rows`` that these are of; ``spec``: field -> its value in each run, of those that differ; ``same``: whether
        the runs share ``data``, ``model`` and ``prompt_contract``; ``comparisons``: the paired tests of each run against the
        first, p values adjusted by Holm over all of them, or the ``reason`` why there is none.

    Raises:
        SpecError: fewer than two runs, or more than there are letters.
        StorageError: there is no run at a path.
        UnsafeArtifactError: a record is damaged.
    """
    if not 1 < len(paths) <= len(ascii_uppercase):
        raise SpecError(f"{len(paths)} runs cannot be compared; give from 2 to {len(ascii_uppercase)} run folders")
    sides = [_Side(name, Path(path), host) for name, path in zip(ascii_uppercase, paths, strict=False)]
    return {
        "runs": [side.to_json() for side in sides],
        "spec": _differences([side.spec for side in sides]),
        "same": {name: len({side.prints.get(name) for side in sides}) == 1 for name in _PRINTS},
        "comparisons": _comparisons(sides),
    }


def write_page(result: Mapping[str, Any], path: Path) -> None:
    """Write what ``compare_runs`` returned as a page.

    Raises:
        StorageError: it cannot be written.
    """
    with recorded_around(path, "compare"):
        replace_file(path, html_page(result).encode(), "the comparison")


@dataclass(frozen=True)
class _Side:
    """One run of several."""

    name: str
    path: Path
    host: PluginHost

    @cached_property
    def run(self) -> Run:
        return Run.open(self.path, plugins=self.host)

    @cached_property
    def record(self) -> Mapping[str, Any]:
        return RunFolder(self.path).read()

    @cached_property
    def spec(self) -> dict[str, Any]:
        return dict(_fields(self.run.spec.model_dump(mode="json")))

    @property
    def prints(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.record["fingerprints"]
        return found

    @cached_property
    def tasks(self) -> Sequence[Task]:
        told = self.record.get("preparation", {}).get("tasks", [])
        return settled(self.host, self.run.spec, told).all("task")

    @property
    def files(self) -> AnswerFiles:
        return AnswerFiles(RunFolder(self.path).evaluation_dir, "tuned")

    @cached_property
    def predictions(self) -> list[Prediction]:
        return read_predictions(self.files.predictions) if self.files.predictions.is_file() else []

    @cached_property
    def scores(self) -> Mapping[str, Any]:
        """The scores of the tuned model, empty where it was not scored."""
        file = self.files.scores
        try:
            found: Mapping[str, Any] = json_file(file, finite=False) if file.is_file() else {}
        except (OSError, ValueError):
            raise DamagedArtifactError(str(self.path), f"evaluation/{file.name}", "cannot be read") from None
        return found

    def to_json(self) -> dict[str, Any]:
        metrics = self.run.metrics
        loss = self.scores.get("held_out_loss", {})
        return {
            "name": self.name,
            "run": str(self.path),
            **{figure: metrics[figure] for figure in _FIGURES},
            "fingerprints": {name: self.prints.get(name) for name in _PRINTS},
            "held_out_loss": {key: loss[key] for key in ("loss", "tokens", "rows", "left_out")} if loss else None,
            "rows": {"count": len(self.predictions), "sha256": _rows_print(self.predictions)}
            if self.predictions
            else None,
            "scores": {task: _score(score) for task, score in self.scores.get("tasks", {}).items()},
        }


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    metric = score["primary"]
    return {
        "metric": metric,
        "value": score["metrics"].get(metric),
        "interval": score["intervals"].get(metric),
        "rows": rows_of_figure(score, metric),
    }


def _rows_print(predictions: Sequence[Prediction]) -> str:
    """Identify the rows that were answered, in whatever order."""
    rows = sorted([p.example.source, question_of(p.example), answer_of(p.example)] for p in predictions)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _comparisons(sides: Sequence[_Side]) -> list[dict[str, Any]]:
    """Return the tests of each run against the first, or why there is none."""
    first, found, tested = sides[0], list[dict[str, Any]](), dict[int, Answered]()
    for place, side in enumerate(sides[1:]):
        answered = _answered(first, side)
        found.append(
            {"run": side.name, "against": first.name, "reason": answered if isinstance(answered, str) else None}
        )
        if not isinstance(answered, str):
            tested[place] = answered
    compared = compare_each([*tested.values()], tasks=first.tasks, seed=first.run.spec.seed)
    for place, comparison in zip(tested, compared, strict=True):
        found[place] |= comparison.against(f"run {first.name}").to_json()
    return found


def _answered(first: _Side, other: _Side) -> Answered | str:
    """Return both sides' scores and answers to the same rows, or why they cannot be paired."""
    for side in (first, other):
        if not side.predictions:
            return f"run {side.name} was not scored"
    try:
        pairs = pair(first.predictions, other.predictions)
    except DataError as error:
        return f"the validation rows are not the same: {error}"
    if not pairs.are_all:
        counts = f"{len(pairs.first):,} rows are in both, {len(pairs.only_first):,} in run {first.name} only"
        return f"the validation rows are not the same: {counts}, {len(pairs.only_second):,} in run {other.name} only"
    base, tuned = pairs.matched
    before, after = (score_predictions(answers, first.tasks, intervals=False) for answers in (base, tuned))
    return Answered(before, after, base, tuned)


def _differences(specs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return field -> its value in each run, of those that differ."""
    names = dict.fromkeys(name for spec in specs for name in spec if name != _BESIDE)
    values = {name: [spec.get(name) for spec in specs] for name in names}
    return {name: of for name, of in values.items() if any(value != of[0] for value in of)}


def _fields(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Return dotted field -> value."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        nested = isinstance(value, Mapping) and value
        found += _fields(value, f"{before}{name}.") if nested else [(f"{before}{name}", value)]
    return found
