"""Scores baselines on the rows of a run, tests its adapter against each, and keeps what was found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.evaluation.comparison import compare, unlike_row
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.scoring import Evaluation, score_predictions
from medtune.machine.owner_only import make_folder, refuse_in_run
from medtune.plugins.contracts import Example, Prediction, Task
from medtune.runs.durable import attempt, replace_file, replace_written
from medtune.runs.manifest import file_digest
from medtune.runs.record.recording import recorded
from medtune.specs.bounded import json_file
from medtune.workflow.baselines.published import published_beside
from medtune.workflow.baselines.request import BaselineRequest, SharedRows, shared_rows
from medtune.workflow.baselines.systems import Answered, answered, file_name
from medtune.workflow.kept_answers import AnswerFiles
from medtune.workflow.opening import check_adapter
from medtune.workflow.scoring import assess

__all__ = ["BASELINES_FILE", "kept_within", "run_baselines"]

BASELINES_FILE = "baselines.json"
_HOUR = 3600
_SEALED = ("adapter", "checkpoints")


@dataclass(frozen=True, slots=True)
class _Tuned:
    """The adapter's answers to all rows, and the file that holds them."""

    predictions: Sequence[Prediction]
    file: Path
    seconds: float | None


def run_baselines(request: BaselineRequest) -> dict[str, Any]:
    """Let the baselines answer the rows that the run is scored on, and hold the adapter against each.

    Returns:
        ``rows``; ``tuned``: seconds and cost of the adapter where they are known; ``systems``: name -> its scores as in
        ``evaluation/tuned.json``, ``comparison`` (base: the baseline), ``adapter`` (its scores on the same rows), ``left_out``, ``seconds``, ``per_1000_rows`` and
        ``facts``; ``published``: see ``published_beside``. The same lies in ``evaluation/baselines.json``, with what was found before on the same rows.

    Raises:
        DataError: the rows are no longer those of the run.
        StorageError: the run has no adapter, or something cannot be written.
        SpecError: a baseline cannot be made so.
    """
    check_adapter(request.folder, request.record, request.spec)
    scope = (f"{request.folder.evaluation_dir.name}/", *kept_within(request.folder.path, request.keep))
    with recorded(request.folder.path, "baseline", scope):
        return _scored(request)


def kept_within(run: Path, keep: Path | None) -> tuple[str, ...]:
    """Return the folder of the encoders as the record of a run names it, nothing where they lie elsewhere or are not kept.

    Raises:
        SpecError: it is the run folder, lies in one of its sealed folders, or in another run.
    """
    if keep is None:
        return ()
    run, place = run.resolve(), keep.resolve()
    if run not in place.parents or place.relative_to(run).parts[0] in _SEALED:
        refuse_in_run(keep)
        return ()
    return (f"{place.relative_to(run).as_posix()}/",)


def _scored(request: BaselineRequest) -> dict[str, Any]:
    shared = shared_rows(request)
    tuned = _tuned(request, shared)
    kept = _kept(request.folder.evaluation_dir, file_digest(tuned.file))
    tasks = request.host.all("task")
    scored = {"tuned": score_predictions(tuned.predictions, tasks, intervals=False)}
    for system in answered(request, shared):
        scored[system.name] = score_predictions(
            list(system.predictions.values()), tasks, overlapping=shared.overlapping
        )
        kept["systems"][system.name] = _found(system, scored[system.name], tuned, request)
        _write_predictions(request.folder.evaluation_dir, system)
    kept |= {"rows": len(shared.asked), "price_per_hour": request.price_per_hour, "tuned": _cost_of(tuned, request)}
    kept["published"] = published_beside(shared.asked, scored)
    content = json.dumps(kept, indent=1, allow_nan=False).encode()
    replace_file(request.folder.evaluation_dir / BASELINES_FILE, content, "the baselines")
    return kept


def _tuned(request: BaselineRequest, shared: SharedRows) -> _Tuned:
    """Return the adapter's answers to these rows: the kept ones where they are answers to them, else new ones."""
    files = AnswerFiles(request.folder.evaluation_dir, "tuned")
    tasks = request.host.all("task")
    if files.predictions.is_file():
        found = read_predictions(files.predictions, tasks)
        if not unlike_row(found, [Prediction(example, "") for example in shared.asked]):
            return _Tuned(_on(shared.asked, found), files.predictions, _seconds(files))
    request.on_stage("letting the tuned model answer, whose kept answers are to other rows")
    _evaluation, answers = assess(request.loaded(), shared.asked, request.spec, request.host, files, shared.overlapping)
    return _Tuned(_on(shared.asked, answers), files.predictions, _seconds(files))


def _on(asked: Sequence[Example], found: Sequence[Prediction]) -> list[Prediction]:
    """Return answers with the examples that all systems share, so that documents and ids are the same for all."""
    return [Prediction(example, one.text, one.truncated) for example, one in zip(asked, found, strict=True)]


def _seconds(files: AnswerFiles) -> float | None:
    found = files.told("answering_seconds")
    return float(found) if isinstance(found, int | float) else None


def _kept(folder: Path, answers: str) -> dict[str, Any]:
    """Return what was found before against the same answers of the adapter, else nothing."""
    try:
        found: dict[str, Any] = json_file(folder / BASELINES_FILE, finite=False)
    except (OSError, ValueError):
        found = {}
    return {
        "tuned_predictions": answers,
        "systems": found.get("systems", {}) if found.get("tuned_predictions") == answers else {},
    }


def _found(system: Answered, scored: Evaluation, tuned: _Tuned, request: BaselineRequest) -> dict[str, Any]:
    tasks: list[Task] = request.host.all("task")
    places, predictions = list(system.predictions), list(system.predictions.values())
    own = [tuned.predictions[place] for place in places]
    held: Evaluation = score_predictions(own, tasks)
    comparison = compare(scored, held, predictions, own, tasks=tasks, seed=request.spec.seed).against(system.name)
    return {
        "kind": system.kind,
        "about": system.about,
        "rows": len(places),
        "left_out": dict(system.left_out),
        **{name: value for name, value in scored.to_json().items() if name != "contracts"},
        "adapter": {name: value for name, value in held.to_json().items() if name in ("tasks", "sources")},
        "comparison": comparison.to_json(),
        "seconds": {"training": system.training_seconds, "answering": system.answering_seconds},
        **_costs(system.training_seconds, system.answering_seconds, len(places), request.price_per_hour),
        "facts": dict(system.facts),
    }


def _cost_of(tuned: _Tuned, request: BaselineRequest) -> dict[str, Any]:
    result: Mapping[str, Any] = request.record.get("result") or {}
    training = result.get("seconds")
    seconds = {"training": training, "answering": tuned.seconds}
    return {"seconds": seconds, **_costs(training, tuned.seconds, len(tuned.predictions), request.price_per_hour)}


def _costs(training: float | None, answering: float | None, rows: int, price: float | None) -> dict[str, Any]:
    """Return seconds and cost of a thousand answers, and the cost of training; None where time or price are not known."""
    each = None if answering is None else answering * 1000 / max(rows, 1)
    cost, once = (None if price is None or time is None else time / _HOUR * price for time in (each, training))
    return {"per_1000_rows": {"seconds": each, "cost": cost}, "training_cost": once}


def _write_predictions(folder: Path, system: Answered) -> None:
    attempt(lambda: make_folder(folder), "the baselines", folder)
    target = folder / f"predictions-{file_name(system.name)}.jsonl"
    answers = system.predictions.values()
    replace_written(target, lambda path: write_predictions(path, answers), "the predictions")
