"""Checks that what a run saved is still what was saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, read_manifest, verify_folder
from medtune.runs.store import CheckpointStore

__all__ = ["Checked", "verify_adapter", "verify_run"]


@dataclass(frozen=True, slots=True)
class Checked:
    """A sealed folder of a run, held against its manifest.

    Attributes:
        path: relative to the run folder.
        files: files that its manifest lists; 0 when the manifest cannot be read.
        problem: which file is damaged, and how; empty when every byte is what was saved.
    """

    path: str
    files: int
    problem: str


def verify_run(folder: RunFolder) -> list[Checked]:
    """Hold the adapter and every checkpoint against their manifests, SHA-256 by SHA-256; writes nothing.

    A finished run must have its adapter. What a run in progress rotates away meanwhile is left out.

    Raises:
        StorageError: this is no run folder.
        DamagedArtifactError: its record is damaged.
    """
    record, sealed = folder.read(), sorted(folder.checkpoints_dir.glob("step-*"))
    if folder.adapter_dir.exists() or record["state"] == "finished":
        sealed.insert(0, folder.adapter_dir)
    checked = [(path, _check(path, folder, record)) for path in sealed]
    return [found for path, found in checked if path.exists() or path == folder.adapter_dir]


def verify_adapter(folder: RunFolder, record: Mapping[str, Any]) -> list[str]:
    """Hold the adapter against its manifest, and that against the run's record.

    Returns:
        What could not be checked, because an earlier medtune made the run.

    Raises:
        DamagedArtifactError: naming the first file that differs.
    """
    manifest, recorded = folder.adapter_dir / MANIFEST, record.get("adapter", {}).get("manifest")
    if recorded is None and not manifest.exists():
        return ["that the files of its adapter are those that were saved (it kept no list of them)"]
    verify_folder(folder.adapter_dir)
    if recorded is None:
        return ["that the list of its adapter's files is the one that was saved (its record does not name it)"]
    if file_digest(manifest) != recorded:
        raise DamagedArtifactError(str(folder.adapter_dir), MANIFEST, "is not the one that the run recorded")
    return []


def _check(path: Path, folder: RunFolder, record: Mapping[str, Any]) -> Checked:
    files, name = 0, path.relative_to(folder.path).as_posix()
    try:
        files = len(read_manifest(path)["files"])
        if path == folder.adapter_dir:
            verify_adapter(folder, record)
        else:
            CheckpointStore.verify(path)
    except DamagedArtifactError as error:
        return Checked(name, files, f"file '{error.file}' {error.reason}")
    return Checked(name, files, "")
