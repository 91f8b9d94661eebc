"""A job for a Ray cluster, run by the distribution medtune-ray."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from medtune.specs import RunSpec
from medtune.workflow.launch.job import Job, spec_text
from medtune.workflow.launch.shell import SPEC_FILE, exports

__all__ = ["RAY_FILE", "ray"]

RAY_FILE = "train-ray.sh"
_PATHS = (
    "model.path", "model.name", "model.chat_template", "data.source", "data.validation", "data.mix.source", "data.mix.validation"
)  # fmt: skip
"""Fields that may name a file or folder."""


def ray(job: Job) -> dict[str, str]:
    """Return a script that Ray starts in the folder of the files, on whichever machine; the spec's paths are absolute."""
    lines = [
        "#!/bin/bash",
        "umask 077",
        *exports(),
        f"exec python -m medtune_ray {SPEC_FILE} --workers {job.processes}",
    ]
    return {RAY_FILE: "\n".join(lines) + "\n", SPEC_FILE: spec_text(_with_absolute_paths(job).spec)}


def _with_absolute_paths(job: Job) -> Job:
    """Return the job with a spec that names files and folders in the same way from wherever it is read."""
    values = job.spec.model_dump(mode="json", exclude_unset=True)
    for key in _PATHS:
        for table, name in _places(values, key.split(".")):
            if isinstance(table.get(name), str) and _is_there(job.here / table[name]):
                table[name] = str(job.here / table[name])
    values["output_dir"] = str(job.here / job.spec.output_dir)
    return replace(job, spec=RunSpec.model_validate(values))


def _places(values: Any, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each table, and the name in it, that dotted keys lead to; a list on the way stands for all of its tables."""
    if isinstance(values, list):
        for each in values:
            yield from _places(each, keys)
    elif isinstance(values, dict):
        table = cast("dict[str, Any]", values)
        if len(keys) == 1:
            yield table, keys[0]
        else:
            yield from _places(table.get(keys[0]), keys[1:])


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return False
