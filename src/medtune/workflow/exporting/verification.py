"""Proves that an export is what was written, and says of which run, in which state, it is."""

import os
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError, SpecError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import read_manifest, verify_folder
from medtune.runs.record.checking import RecordCheck
from medtune.runs.record.tree import RECORD, SIGNATURES
from medtune.runs.verification import Checked, Verification
from medtune.specs.bounded import json_file
from medtune.workflow.exporting.export import EXPORT_FILE

__all__ = ["VerifiedExport", "is_export", "verify_export"]


class VerifiedExport(Verification):
    """What was found of an export: its one sealed folder, and the state of the run that it names."""

    def to_json(self) -> dict[str, Any]:
        """Return what ``verify --json`` prints."""
        return {**super().to_json(), "export": self.run, "of": _named(Path(self.run))}


def is_export(path: Path) -> bool:
    """Whether a folder is an export, and neither a run nor what is left of one."""
    is_run = RunFolder(path).exists or any(os.path.lexists(path / name) for name in (RECORD, SIGNATURES))
    return (path / EXPORT_FILE).is_file() and not is_run


def verify_export(path: Path, key: Path | None = None) -> VerifiedExport:
    """Hold an export against its manifest; a signature is its run's.

    Raises:
        SpecError: a key was given.
    """
    if key is not None:
        raise SpecError(f"'{path}' is an export, which its run's signature covers: verify the run with --key")
    files = 0
    try:
        files = len(read_manifest(path)["files"])
        verify_folder(path)
        problem = ""
    except DamagedArtifactError as error:
        problem = f"file '{error.file}' {error.reason}"
    return VerifiedExport(str(path), [Checked(".", files, problem)], RecordCheck())


def _named(path: Path) -> Any:
    try:
        return json_file(path / EXPORT_FILE).get("record")
    except (OSError, ValueError, AttributeError):
        return None
