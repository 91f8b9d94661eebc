"""Plans a run for a cluster and writes the files that start it there, each read again before it counts as written."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from medtune.errors import SpecError, StorageError, UnknownNameError
from medtune.machine.owner_only import make_folder, refuse_in_run, write_text
from medtune.plugins.plan import Plan
from medtune.runs.durable import attempt
from medtune.specfile import read_spec_file, validate_spec
from medtune.workflow.launch.job import Job, spec_text
from medtune.workflow.launch.kubernetes import kubernetes
from medtune.workflow.launch.ray import RAY_FILE, ray
from medtune.workflow.launch.shell import SPEC_FILE, slurm, torchrun
from medtune.workflow.launch.skypilot import skypilot

__all__ = ["ENGINES", "Launched", "launch"]

ENGINES: Mapping[str, Callable[[Job], dict[str, str]]] = {
    "torchrun": torchrun,
    "slurm": slurm,
    "kubernetes": kubernetes,
    "skypilot": skypilot,
    "ray": ray,
}
"""What writes the files of an engine, by its name."""

_DIRECTIVE = re.compile(r"#SBATCH --[a-z-]+(=[A-Za-z0-9:@%._-]+)?")


@dataclass(frozen=True, slots=True)
class Launched:
    """Files that start a run, and how.

    Attributes:
        engine: they are for.
        folder: they lie in, or would.
        texts: of each file by its name.
        command: starts the run; a line for a shell.
        plan: they were written from.
    """

    engine: str
    folder: Path
    texts: Mapping[str, str]
    command: str
    plan: Plan

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        files = {name: str(self.folder / name) for name in self.texts}
        return {"engine": self.engine, "files": files, "command": self.command, "plan": self.plan.to_json()}


def launch(engine: str, job: Job, *, writes: bool = True) -> Launched:
    """Write the files that start a run, or only say what they would be.

    Args:
        engine: one of ``ENGINES``.
        job: what is launched.
        writes: whether files are written; they replace those of an earlier launch.

    Raises:
        UnknownNameError: there is no such engine.
        OutOfMemoryError, DataError: the plan says that the run cannot be done there.
        SpecError: the engine lacks something, or cannot do that.
        StorageError: they cannot be written, or read otherwise than they were written.
    """
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, ENGINES)
    job.plan.require_fit()
    if engine == "torchrun" and job.nodes > 1:
        raise SpecError(
            "--torchrun starts processes on one machine; for several take --slurm, --kubernetes, --skypilot or --ray"
        )
    texts = ENGINES[engine](job)
    for name, text in texts.items():
        _require_sound(name, text, job)
    if writes:
        _write(job.folder, texts)
    return Launched(engine, job.folder, texts, _command(engine, job.folder), job.plan)


def _command(engine: str, folder: Path) -> str:
    def at(name: str) -> str:
        return shlex.quote(str(folder / name))

    return {
        "torchrun": f"bash {at('train.sh')}",
        "slurm": f"sbatch {at('train.sbatch')}",
        "kubernetes": f"kubectl apply -f {at('train.yaml')}",
        "skypilot": f"SKYPILOT_DISABLE_USAGE_COLLECTION=1 sky jobs launch {at('train-sky.yaml')}",
        "ray": f"RAY_USAGE_STATS_ENABLED=0 ray job submit --working-dir {shlex.quote(str(folder))} -- bash {RAY_FILE}",
    }[engine]


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files, and hold what the disk then has against what was meant."""
    refuse_in_run(folder)
    attempt(lambda: make_folder(folder), "the folder of the launch", folder)
    for name, text in texts.items():
        path = folder / name
        attempt(partial(write_text, path, text), "a file of the launch", path)
        if path.read_bytes() != text.encode("utf-8"):
            raise StorageError(f"'{path}' reads otherwise than it was written; write to another disk")
        if name == SPEC_FILE:
            validate_spec(read_spec_file(path), path)


def _require_sound(name: str, text: str, job: Job) -> None:
    """Read a file as its reader will; YAML was read again as it was made.

    Raises:
        StorageError: it is not what was meant.
    """
    if name == SPEC_FILE and _spec_text(json.loads(text)) != text:
        raise StorageError(f"'{name}' reads otherwise than it was meant")
    if name.endswith((".sh", ".sbatch")):
        _require_shell(name, text, job)


def _require_shell(name: str, text: str, job: Job) -> None:
    """Hold a script against bash, where there is one, its paths against the words that a shell makes of it."""
    head = [*takewhile(lambda line: line.startswith("#"), text.split("\n"))]
    if not all(_DIRECTIVE.fullmatch(line) for line in head if line.startswith("#SBATCH")):
        raise StorageError(f"'{name}' holds a directive that Slurm may read otherwise")
    words = shlex.split(text, comments=True)
    meant = [] if name == RAY_FILE else [str(job.here), str(job.folder / SPEC_FILE)]
    if any(word not in words for word in meant):
        raise StorageError(f"'{name}' reads otherwise than it was meant")
    if (bash := shutil.which("bash")) is not None:
        done = subprocess.run([bash, "-n"], input=text.encode("utf-8"), capture_output=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise StorageError(f"'{name}' is no script that bash reads")


def _spec_text(values: Mapping[str, Any]) -> str:
    return spec_text(validate_spec(values))
