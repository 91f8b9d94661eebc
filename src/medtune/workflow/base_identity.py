"""Which base a run was trained on, as its record and its adapter keep it, and whether what lies there now is the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.errors import BaseUnsuitedError, UnsafeArtifactError
from medtune.runs.base_fingerprint import base_parts, fingerprint_as
from medtune.specs import ModelSpec

__all__ = ["BASE_FILE", "check_base", "identity_of", "write_identity"]

BASE_FILE = "base.json"
"""Beside an adapter: the identity of its base, without the path."""


def identity_of(model: ModelSpec) -> dict[str, Any]:
    """Return what identifies a base: its name, repository and commit where they are known, and a SHA-256 for each part.

    Raises:
        StorageError: a file of a local folder cannot be read.
    """
    return {
        "name": model.label,
        "repository": model.repository,
        "commit": model.commit,
        "parts": base_parts(model),
    }


def write_identity(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the base's identity beside an adapter, as the run's record has it."""
    if "base" in record:
        (folder / BASE_FILE).write_text(json.dumps(record["base"], indent=1, sort_keys=True) + "\n", "utf-8")


def check_base(run: str, record: Mapping[str, Any], model: ModelSpec) -> None:
    """Refuse to put a run's adapter on another base than it was trained on.

    Args:
        run: the run folder, for the sentence.
        record: content of ``run.json``; one of an earlier medtune has a fingerprint of the whole base only.
        model: the base as the run's spec names it.

    Raises:
        BaseUnsuitedError: there is no such folder.
        UnsafeArtifactError: naming what differs.
        StorageError: a file of the base cannot be read.
    """
    if model.path is not None and not Path(model.path).is_dir():
        raise BaseUnsuitedError(
            "place",
            model.path,
            "is no folder",
            "say where the run's base lies now: --base FOLDER, or base= of Run.open",
        )
    kept: Mapping[str, str] = record.get("base", {}).get("parts", {})
    if kept:
        now = base_parts(model, kept["way"])
        differing = sorted(name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name))
    else:
        recorded = record.get("fingerprints", {}).get("model")
        same = recorded is None or fingerprint_as(recorded, model) == recorded
        differing = [] if same else ["files"]
    if differing:
        raise UnsafeArtifactError(
            f"run '{run}' was trained on another base than '{model.path or model.name}' is now (its "
            f"{', '.join(differing)} differ); put the base back that it was trained on"
        )
