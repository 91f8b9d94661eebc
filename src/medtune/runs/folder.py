"""The run folder: where everything of a run lies, and the record of what it is."""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any, Literal, cast

from medtune.errors import DamagedArtifactError, SpecError, StorageError
from medtune.errors.masking import masked_values
from medtune.machine.owner_only import make_folder
from medtune.runs.durable import attempt, replace_file
from medtune.runs.lock import is_held
from medtune.runs.record.tree import RECORD, SIGNATURES, regular_bytes
from medtune.specs.bounded import BoundsError, json_file

__all__ = ["STATES", "RunFolder", "State"]

State = Literal["planned", "running", "interrupted", "finished", "failed"]
STATES: tuple[State, ...] = ("planned", "running", "interrupted", "finished", "failed")
"""What a run can be; all but "finished" can be resumed."""

_FORMAT = 1
_SEAL = "sha256"
"""Key of the digest over all other keys: a record that was changed by hand is told from one that medtune wrote."""
_ALWAYS = ("spec", "plan", "fingerprints")
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(
        (*_ALWAYS, "versions", "result", "scores", "preparation", "proof", "base", "adapter", "minutes"), dict
    ),
    **dict.fromkeys(("created", "updated"), str),
}
_DISTRIBUTIONS = ("accelerate", "bitsandbytes", "datasets", "medtune", "numpy", "peft", "torch", "transformers", "trl")


class RunFolder:
    """The places of a run below ``path``, and its ``run.json``.

    ``run.json`` holds no credential: ``***`` stands for those of plugins' options. It is replaced in one step, so a reader sees the old or the new record whole, without a lock. Writing needs
    the run's lock.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.record_path = self.path / "run.json"
        self.log_path = self.path / "log.jsonl"
        self.checkpoints_dir = self.path / "checkpoints"
        self.adapter_dir = self.path / "adapter"
        self.evaluation_dir = self.path / "evaluation"
        self.report_path = self.path / "report.html"
        self.overlap_path = self.path / "overlap.jsonl"

    @property
    def exists(self) -> bool:
        """Whether a run was ever created here."""
        return self.record_path.is_file()

    def require_free(self) -> None:
        """Refuse a folder without a run that holds something which a run would replace.

        Raises:
            SpecError: naming it.
        """
        places = (self.adapter_dir, self.checkpoints_dir, self.evaluation_dir, self.log_path, self.report_path)
        taken = [place.name for place in places if os.path.lexists(place)]
        if taken and not self.exists:
            raise SpecError(
                f"'{self.path}' is no run folder and holds '{taken[0]}', which a run would replace; choose another output_dir"
            )

    @property
    def state(self) -> State:
        """What the run is now."""
        return self.state_by(self.read())

    def state_by(self, record: Mapping[str, Any]) -> State:
        """Return what a run is of which ``record`` was read: one that says "running" and whose lock is free was killed."""
        state: State = record["state"]
        return "interrupted" if state == "running" and not is_held(self.path) else state

    def create(
        self, spec: Mapping[str, Any], plan: Mapping[str, Any], fingerprints: Mapping[str, str]
    ) -> dict[str, Any]:
        """Write the record of a planned run and return it.

        Args:
            spec: the run spec as JSON values.
            plan: the plan as JSON values.
            fingerprints: what the run must find unchanged when it is resumed, such as "data" and "prompt_contract".
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = {
            "format": _FORMAT,
            "state": "planned",
            "spec": dict(spec),
            "plan": dict(plan),
            "fingerprints": dict(fingerprints),
            "versions": _versions(),
            "created": now,
            "updated": now,
        }
        attempt(lambda: make_folder(self.path), "the run folder", self.path)
        self._write(record)
        return record

    def update(self, state: State | None = None, **facts: Any) -> dict[str, Any]:
        """Change the state, and add or replace top-level ``facts`` (JSON values) of the record; return it."""
        record = self.read() | facts
        if state is not None:
            record["state"] = state
        record["updated"] = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(record)
        return record

    def read(self) -> dict[str, Any]:
        """Return the record.

        Raises:
            StorageError: this is no run folder, or its record cannot be read.
            DamagedArtifactError: the record is not one that medtune wrote, or gone from a run.
        """
        try:
            record = json_file(self.record_path)
        except (FileNotFoundError, NotADirectoryError):
            if _was_run(self.path):
                raise DamagedArtifactError(str(self.path), "run.json", "is missing") from None
            raise StorageError(f"'{self.path}' is not a run folder: it has no run.json") from None
        except OSError as error:
            raise StorageError(f"'{self.record_path}' cannot be read: {error.strerror}") from error
        except BoundsError as error:
            raise DamagedArtifactError(str(self.path), "run.json", str(error)) from None
        except ValueError:
            raise DamagedArtifactError(str(self.path), "run.json", "is not JSON") from None
        if not isinstance(record, dict) or record.get("state") not in STATES:
            raise DamagedArtifactError(str(self.path), "run.json", f"has no state out of {', '.join(STATES)}")
        if record.get("format") != _FORMAT:
            raise DamagedArtifactError(str(self.path), "run.json", "was written by another version of medtune")
        if problem := _problem(cast("dict[str, Any]", record)):
            raise DamagedArtifactError(str(self.path), "run.json", problem)
        return {key: value for key, value in cast("dict[str, Any]", record).items() if key != _SEAL}

    def _write(self, record: Mapping[str, Any]) -> None:
        record = masked_values(record)
        sealed = {**record, _SEAL: _digest(record)}
        content = json.dumps(sealed, indent=1, allow_nan=False) + "\n"
        replace_file(self.record_path, content.encode(), "the run record")


def _was_run(path: Path) -> bool:
    """Whether a folder holds signatures of a run, or a record of its ``run.json``."""
    try:
        return (path / SIGNATURES).exists() or b'"run.json":[' in regular_bytes(path / RECORD)
    except (OSError, BoundsError):
        return False


def _digest(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record without its seal, however it is laid out in the file."""
    as_read = json.loads(json.dumps({key: value for key, value in record.items() if key != _SEAL}))
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def _problem(record: Mapping[str, Any]) -> str:
    """Return how a record is not what medtune wrote, empty where it is; earlier releases wrote no seal."""
    if _SEAL in record and record[_SEAL] != _digest(record):
        return f"was changed since medtune wrote it (its {_SEAL} differs)"
    for name, kind in _KINDS.items():
        if not isinstance(record.get(name, kind()), kind):
            return f"has no {'object' if kind is dict else 'text'} in '{name}'"
    if not isinstance(record.get("spec", {}).get("plugins"), list | None):  # read before the rest of the spec is
        return "has no list in 'spec.plugins'"
    lacking = [name for name in _ALWAYS if name not in record]
    return f"lacks '{lacking[0]}'" if lacking else ""


def _versions() -> dict[str, str]:
    found = {"python": python_version(), "platform": platform()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
