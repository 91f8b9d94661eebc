"""Tries settings of one spec by Ray Tune: a run for each combination, side by side as far as the cluster has room."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from medtune import MedTuner, Run, RunSpec
from medtune.errors import MedtuneError, SpecError
from medtune_ray.cluster import Cluster, joined
from medtune_ray.notes import Notes
from medtune_ray.train import notes_folder, refuse_locked
from medtune_ray.worker import train_share

__all__ = ["Sweep", "Trial", "sweep"]

_FIGURES = {"score": "max", "held_out_loss": "min", "train_loss": "min"}
"""What a trial tells, the one that a sweep is judged by first; and which end of it is the better."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination of settings.

    Attributes:
        settings: field -> value as it was written.
        run: its run folder.
        figures: ``score`` (mean over the tasks), ``held_out_loss`` and ``train_loss``; None what was not measured.
        error: why it came to nothing, empty when it did not.
    """

    settings: Mapping[str, str]
    run: Path
    figures: Mapping[str, float | None]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All trials in the order of the grid, the figure that they are judged by, and the best of them (None without any)."""

    trials: Sequence[Trial]
    judged_by: str
    best: Trial | None


def sweep(
    spec_file: str | Path,
    grid: Mapping[str, Sequence[str]],
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    **options: Any,
) -> Sweep:
    """Train every combination of the grid, each as one process, and compare them by score or loss.

    Args:
        spec_file: the spec that all have in common.
        grid: field -> values, as ``--set`` takes them.
        overrides: further settings of all, such as ``"train.max_steps=100"``.
        out: folder of the runs, ``000``, ``001`` and so on; None is the spec's ``output_dir``.
        options: ``max_failures`` (restarts of one trial, 3), ``cpu_only`` (False) and ``ray_dir``, as for ``train``.

    Raises:
        RayLockedError: a run is locked.
        SpecError: a combination is no spec, whichever; told before anything is trained.
    """
    known = {"max_failures", "cpu_only", "ray_dir"}
    if unknown := options.keys() - known:
        raise SpecError(f"sweep() takes no '{min(unknown)}'; it takes {', '.join(sorted(known))}")
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    specs = list(_specs(spec_file, overrides, settings, out))
    with joined(1, options.get("ray_dir")) as cluster:
        _run(specs, grid, cluster, options)
    trials = [_trial(each, spec) for each, spec in zip(settings, specs, strict=True)]
    judged_by = next((name for name in _FIGURES if any(t.figures[name] is not None for t in trials)), "train_loss")
    return Sweep(trials, judged_by, _best(trials, judged_by))


def _specs(
    spec_file: str | Path, overrides: Sequence[str], settings: Sequence[Mapping[str, str]], out: Path | None
) -> Iterator[RunSpec]:
    """Yield the spec of each combination; all are checked before the first is trained."""
    for number, each in enumerate(settings):
        given = [*overrides, *(f"{field}={value}" for field, value in each.items())]
        spec = MedTuner.from_file(spec_file, given).spec
        refuse_locked(spec)
        place = Path(spec.output_dir if out is None else out).absolute() / f"{number:03d}"
        yield spec.model_copy_with(output_dir=str(place))


def _run(
    specs: Sequence[RunSpec], grid: Mapping[str, Sequence[str]], cluster: Cluster, options: Mapping[str, Any]
) -> None:
    from ray import tune  # pyright: ignore[reportMissingImports]

    parent = Path(specs[0].output_dir).parent
    storage = notes_folder(parent)
    configs: list[dict[str, Any]] = []
    for spec in specs:
        notes = Notes(storage / Path(spec.output_dir).name)
        notes.clear()
        values = spec.model_dump(mode="json", exclude_unset=True)
        configs.append({"spec": values, "notes": str(notes.folder), "directory": str(Path.cwd())})
    combinations = list(product(*grid.values()))

    def trial(config: dict[str, Any]) -> None:
        os.environ.update({"RANK": "0", "WORLD_SIZE": "1"})
        chosen = configs[combinations.index(tuple(config[field] for field in grid))]
        train_share(chosen)
        out = Path(chosen["spec"]["output_dir"])
        tune.report({name: value for name, value in _figures(out).items() if value is not None})

    on_gpu = bool(cluster.gpus) and not options.get("cpu_only", False)
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1, "gpu": int(on_gpu)}),
        param_space={field: tune.grid_search(list(values)) for field, values in grid.items()},
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=int(options.get("max_failures", 3))),
        ),
    )
    tuner.fit()


def _trial(settings: Mapping[str, str], spec: RunSpec) -> Trial:
    out = Path(spec.output_dir)
    verdict = Notes(notes_folder(out.parent) / out.name).verdict
    error = verdict["message"] if verdict else ""
    try:
        if Run.open(out).state != "finished" and not error:
            error = f"run '{out}' was lost; run the same command again to go on with it"
    except MedtuneError as missing:
        error = error or str(missing)
    return Trial(settings, out, dict.fromkeys(_FIGURES) if error else _figures(out), error)


def _figures(out: Path) -> dict[str, float | None]:
    """Return what a finished run measured; the same for all runs of one sweep, None where its spec asked for none."""
    metrics = Run.open(out).metrics
    scores = [task["tuned"] for task in metrics["scores"].values() if task.get("tuned") is not None]
    held_out = metrics["held_out_loss"].get("tuned")
    return {
        "score": fmean(scores) if scores else None,
        "held_out_loss": held_out.get("loss") if isinstance(held_out, dict) else held_out,
        "train_loss": metrics["train_loss"],
    }


def _best(trials: Sequence[Trial], judged_by: str) -> Trial | None:
    told = [(value, trial) for trial in trials if (value := trial.figures[judged_by]) is not None]
    if not told:
        return None
    choose = max if _FIGURES[judged_by] == "max" else min
    return choose(told, key=lambda each: each[0])[1]
