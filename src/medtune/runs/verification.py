"""Checks that what a run saved is still what was saved."""

from dataclasses import dataclass
from pathlib import Path

from medtune.errors import DamagedArtifactError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import read_manifest
from medtune.runs.store import CheckpointStore

__all__ = ["Checked", "verify_run"]


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
    sealed = sorted(folder.checkpoints_dir.glob("step-*"))
    if folder.adapter_dir.exists() or folder.state == "finished":
        sealed.insert(0, folder.adapter_dir)
    checked = [(path, _check(path, path.relative_to(folder.path).as_posix())) for path in sealed]
    return [found for path, found in checked if path.exists() or path == folder.adapter_dir]


def _check(path: Path, name: str) -> Checked:
    files = 0
    try:
        files = len(read_manifest(path)["files"])
        CheckpointStore.verify(path)
    except DamagedArtifactError as error:
        return Checked(name, files, f"file '{error.file}' {error.reason}")
    return Checked(name, files, "")
