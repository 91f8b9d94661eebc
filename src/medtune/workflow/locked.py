"""What a locked run may name, refused before anything is opened, and what its record says of how it was locked."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medtune.data.sources.paths import is_local
from medtune.errors import RemoteNameError
from medtune.errors.locked_mode import is_locked
from medtune.machine.network import attempts, lock
from medtune.runs.folder import RunFolder
from medtune.specs import ModelSpec, RunSpec

__all__ = ["begin", "lock_as", "lock_where", "record_of", "refuse_remote_base", "refuse_remote_path", "with_refusals"]

_URL = re.compile(r"[A-Za-z][\w+.-]+:/|.*://")  # a Path makes one slash of two
_TRACKER_PLACES = {"mlflow": "MLFLOW_TRACKING_URI", "trackio": "TRACKIO_SPACE_ID", "wandb": "WANDB_BASE_URL"}
"""Tracker -> environment variable that may send its figures to another machine."""


def begin(spec: RunSpec) -> None:
    """Lock this process where the spec or the environment says so, and refuse what the spec names elsewhere.

    Raises:
        RemoteNameError: it names a repository, a URL or a server.
    """
    if not (spec.locked or is_locked()):
        return
    lock()
    refuse_remote_base(spec.model)
    for name, value in _paths(spec):
        refuse_remote_path(name, value)
    for name, source in _sources(spec):
        if not is_local(source):
            raise RemoteNameError(f"{name} '{source}' is a data set of the hub", f"set {name} to its files here")
    for tracker in spec.train.report_to:
        place = os.environ.get(_TRACKER_PLACES.get(tracker, ""), "")
        if place and not place.startswith(("file:", "sqlite:")) and not Path(place).exists():
            variable = _TRACKER_PLACES[tracker]
            raise RemoteNameError(f"{variable} sends figures to another place", f"unset it, or leave out '{tracker}'")


def lock_where(is_asked: Any) -> None:
    """Lock this process where that is asked, here or in the environment, before a plugin is imported."""
    if is_asked or is_locked():
        lock()


def lock_as(run: Path) -> list[str] | None:
    """Lock this process where the spec of a run says so, before a plugin is imported, and return that spec's list of plugins.

    Raises:
        StorageError: there is no run.
        UnsafeArtifactError: its record is damaged.
    """
    spec = RunFolder(run).read()["spec"]
    lock_where(spec.get("locked"))
    allowed: list[str] | None = spec.get("plugins")
    return allowed


def refuse_remote_base(model: ModelSpec) -> None:
    """Refuse a base that is no folder of this machine, where this process is locked.

    Raises:
        RemoteNameError: it is a repository's name, or a URL.
    """
    if is_locked() and model.path is None:
        raise RemoteNameError(
            f"model.name '{model.name}' is a repository of the hub", "set model.path to the folder that holds the base"
        )
    refuse_remote_path("model.path", model.path)


def refuse_remote_path(name: str, value: str | None) -> None:
    """Refuse a URL, which is not repeated: it may hold a password.

    Raises:
        RemoteNameError: it is one, and this process is locked.
    """
    if is_locked() and value is not None and _URL.match(value):
        raise RemoteNameError(f"{name} is a URL", f"set {name} to a path")


def record_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` says of locking, with this session added: ``sessions``, whether each was locked, the first one first.

    What was refused stands under ``refused``, as ``with_refusals`` puts it there.
    """
    known: Mapping[str, Any] = record.get("locked", {})
    return {"sessions": [*known.get("sessions", []), is_locked()], "refused": known.get("refused", [])}


def with_refusals(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the same with what this process refused: what was wanted, by which module of which distribution, how often.

    None where nothing was refused.
    """
    found = [asdict(attempt) for attempt in attempts()]
    return {**record.get("locked", {}), "refused": found} if found else None


def _paths(spec: RunSpec) -> Iterator[tuple[str, str | None]]:
    yield "model.chat_template", spec.model.chat_template
    yield "output_dir", spec.output_dir
    yield "data.validation", spec.data.validation
    yield from _sources(spec)


def _sources(spec: RunSpec) -> Iterator[tuple[str, str]]:
    yield "data.source", spec.data.source
    for number, member in enumerate(spec.data.mix):
        yield f"data.mix.{number}.source", member.source
