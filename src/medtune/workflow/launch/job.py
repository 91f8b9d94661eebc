"""What the files of a launch are written from: a spec, its plan, and where it is to run."""

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medtune.errors import SpecError
from medtune.plugins.plan import Plan
from medtune.specs import RunSpec

__all__ = ["ENVIRONMENT", "GO_ON", "REFUSED", "Job", "Volume", "spec_text"]

GO_ON = 75
"""Exit code of a run that was interrupted and goes on when it is started again."""
REFUSED = (2, 3, 4, 7, 8)
"""Exit codes of runs that would end so again: spec, data, unsafe artifact, loss, memory."""
ENVIRONMENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TRANSFORMERS_OFFLINE": "1",
}
"""Set for every process of a run; nothing is taken over from the environment in which the files are written."""

_CLAIM = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_OF_THE_IMAGE = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"}
"""Folders of a container that a disk must not hide, nor lie in: the spec and shared memory are mounted there too."""
_MOST_MINUTES = 366 * 1440
_LEAST_GRACE, _SAVING = 120, 60
"""Seconds before a limit at which a run is told to stop, at least, and those of a save."""
_MARGIN, _MORE, _GRAIN = 1.5, 20, 15
"""Of a time limit: the predicted time so many times, minutes besides, rounded up to these."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A disk that outlives machines: its name where it is claimed, and the path at which machines see it.

    >>> Volume.of("runs:/mnt/runs")
    Volume(name='runs', path='/mnt/runs')
    """

    name: str
    path: str

    @classmethod
    def of(cls, text: str) -> "Volume":
        """Read ``NAME:/PATH``.

        Raises:
            SpecError: it is written otherwise, or with characters that such names do not have, or hides a folder of the image.
        """
        name, _, path = text.partition(":")
        if not _CLAIM.fullmatch(name) or not _PATH.fullmatch(path):
            raise SpecError(f"--volume '{text}' is not NAME:/PATH, as in runs:/mnt/runs; NAME has a-z, 0-9 and -")
        if PurePosixPath(path).parts[1] in _OF_THE_IMAGE or path in ("/opt", "/var"):
            raise SpecError(
                f"--volume '{text}' would hide what the image has at {path}; take a path such as /mnt/{name}"
            )
        return cls(name, path)


@dataclass(frozen=True, slots=True)
class Job:
    """A run to be launched.

    Attributes:
        spec: the run as it is written down for the machines.
        plan: of it, for these GPUs.
        folder: absolute, takes the files.
        here: absolute, the folder that relative paths of the spec start from.
        gpus: in each machine; processes on machines without.
        nodes: machines.
        gpu: their name as the user gave it.
        minutes: time limit as the user gave it.
        image: container image.
        volume: disk that outlives the machines.
    """

    spec: RunSpec
    plan: Plan
    folder: Path
    here: Path
    gpus: int = 1
    nodes: int = 1
    gpu: str | None = None
    minutes: float | None = None
    image: str | None = None
    volume: Volume | None = None

    def __post_init__(self) -> None:
        for place in (self.folder, self.here, Path(sys.executable)):
            try:
                str(place).encode("utf-8")
            except UnicodeEncodeError:
                raise SpecError(f"the path {str(place)!a} is no text in UTF-8; launch from another folder") from None
        if self.image is not None and not _IMAGE.fullmatch(self.image):
            raise SpecError(f"--image '{self.image}' is no name of a container image, such as registry/medtune:1")

    @property
    def processes(self) -> int:
        """Processes in all."""
        return self.gpus * self.nodes

    @property
    def on_gpu(self) -> bool:
        """Whether it is planned for GPUs."""
        return self.plan.device != "CPU"

    @property
    def name(self) -> str:
        """What engines may call it: letters, digits and dashes, after the run folder."""
        words = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(self.spec.output_dir).name.lower()).strip("-")
        return f"medtune-{words}"[:40].rstrip("-")

    @property
    def grace(self) -> int:
        """Seconds that the run is given to finish its update and save."""
        update = sum(
            self.plan.cluster.get(f"{part}_seconds_per_update") or 0.0 for part in ("compute", "communication")
        )
        if not update and self.plan.seconds and self.plan.steps:
            update = self.plan.seconds / self.plan.steps
        return max(_LEAST_GRACE, math.ceil(3 * update) + _SAVING)

    @property
    def limit(self) -> int:
        """Minutes after which an engine may end the job, which then goes on in the next.

        Raises:
            SpecError: nobody said, and the plan does not know; or what was said leaves no time to train, or is absurd.
        """
        if self.minutes is not None:
            least = 2 * math.ceil(self.grace / 60)
            if not least <= self.minutes <= _MOST_MINUTES:
                raise SpecError(
                    f"a limit of {self.minutes:g} minutes is out of range: the job is told to stop {self.grace} seconds before it; "
                    f"give {least}m to 366d, as --time 4h"
                )
            return math.ceil(self.minutes)
        if self.plan.seconds is None:
            raise SpecError(
                "the plan cannot say how long the run takes, since the size of its data or the speed of the GPU is unknown; give "
                "a limit, as --time 4h, or a known GPU, as --gpu h100"
            )
        expected = (self.plan.seconds + (self.plan.scoring_seconds or 0.0)) / 60 * _MARGIN + _MORE
        return math.ceil(expected / _GRAIN) * _GRAIN

    @property
    def host_gib(self) -> int:
        """Memory of a machine beside its GPUs: the base's files once, and what each process holds."""
        if not self.on_gpu:
            return math.ceil((self.plan.peak_gib or 4.0) * self.gpus) + 4
        base = 2 * (self.plan.parameters or 0) / 2**30
        return math.ceil(base + 12 * self.gpus)

    def require(self, engine: str, *options: str) -> None:
        """Refuse a launch without what an engine cannot do without.

        Raises:
            SpecError: naming the option.
        """
        examples = {"image": "registry/medtune:1", "volume": "runs:/mnt/runs", "gpu": "h100"}
        for option in options:
            if getattr(self, option) is None:
                raise SpecError(f"--{engine} needs --{option}, as --{option} {examples[option]}")

    def require_on_volume(self) -> Volume:
        """Return the volume, on which every path of the spec has to lie: relative ones begin there.

        Raises:
            SpecError: one lies elsewhere; it is named.
        """
        volume = self.volume
        assert volume is not None  # noqa: S101 - asked for before, for type checkers
        for key, value in _texts(self.spec.model_dump(mode="json", exclude_unset=True), ""):
            is_elsewhere = value.startswith("/") and not PurePosixPath(value).is_relative_to(volume.path)
            if is_elsewhere or (value.startswith("../") or "/../" in value):
                raise SpecError(
                    f"'{key}' does not lie below {volume.path}, where the machines see the volume '{volume.name}'; copy it there and "
                    "write a path below it, or one relative to it"
                )
        return volume


def spec_text(spec: RunSpec) -> str:
    """Return a spec as the machines read it: JSON, with every field that was set."""
    return json.dumps(spec.model_dump(mode="json", exclude_unset=True), indent=2, sort_keys=True) + "\n"


def _texts(value: Any, key: str) -> list[tuple[str, str]]:
    """Return every text of a spec with its dotted key."""
    if isinstance(value, str):
        return [(key, value)]
    if isinstance(value, Mapping):
        pairs: Mapping[str, Any] = value
        return [found for name, each in pairs.items() for found in _texts(each, f"{key}.{name}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [found for each in value for found in _texts(each, key)]
    return []
