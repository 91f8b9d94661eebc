"""Checks that what a run saved is still what was saved: its sealed folders, its record, and signatures of that."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError, RunInterruptedError, StorageError, UnsafeArtifactError
from medtune.runs.folder import RunFolder
from medtune.runs.manifest import MANIFEST, file_digest, read_manifest, verify_folder
from medtune.runs.record.chain import Chain
from medtune.runs.record.checking import Problem, RecordCheck, check_record
from medtune.runs.record.signing import SignatureCheck, check_signature, sign_record
from medtune.runs.store import CheckpointStore, lies_aside

__all__ = ["NEXT_MANIFEST", "Checked", "Verification", "sign_run", "verify_adapter", "verify_all", "verify_run"]

Digest = Callable[[Path], str]

NEXT_MANIFEST = "next_manifest"
"""Beside the hash of the adapter's manifest in ``run.json``: that of the one which is about to take its place."""
_SHOWN = 5
"""Problems that a sentence names; the others are counted."""


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


@dataclass(frozen=True, slots=True)
class Verification:
    """What ``verify`` found; iterating over it gives its sealed folders.

    Attributes:
        run: the run folder.
        checked: adapter and checkpoints, each held against its manifest.
        record: the whole folder, held against its record.
        signature: what the signatures are worth by the key that was given, None without a key.
    """

    run: str
    checked: Sequence[Checked]
    record: RecordCheck
    signature: SignatureCheck | None = None

    def __iter__(self) -> Iterator[Checked]:
        return iter(self.checked)

    def __len__(self) -> int:
        return len(self.checked)

    @property
    def problems(self) -> list[Problem]:
        """Every file that is not what it was, each once."""
        named = {problem.file for problem in self.record.problems}
        sealed = [_of_manifest(found) for found in self.checked if found.problem]
        others = [problem for problem in sealed if problem.file not in named]
        return [*self.record.problems, *others, *(self.signature.problems if self.signature else ())]

    @property
    def state(self) -> str:
        """One of "whole", "interrupted" (a command was cut short, or still writes), "damaged"."""
        if self.problems:
            return "damaged"
        return "interrupted" if self.record.writing or self.record.newer else "whole"

    @property
    def sentence(self) -> str:
        """What is wrong, empty where nothing is."""
        if self.problems:
            shown = "; ".join(str(problem) for problem in self.problems[:_SHOWN])
            more = len(self.problems) - _SHOWN
            return f"run '{self.run}' is damaged: {shown}" + (f"; and {more} more" if more > 0 else "")
        if self.state == "whole":
            return ""
        command, count = self.record.writing or "a command", len(self.record.newer)
        if self.record.is_alive:
            return f"run '{self.run}' is being written to by '{command}', {count} files are newer than its record; verify it again when that is done"
        return (
            f"run '{self.run}' was left in the midst of '{command}': {count} files are newer than its record, and nothing says "
            f"that they are what it wrote; run '{command}' again"
        )

    @property
    def exit_code(self) -> int:
        """0 for a whole run, 4 for a damaged one, 75 for one that a command left in its midst."""
        codes = {
            "whole": 0,
            "damaged": UnsafeArtifactError.exit_code,
            "interrupted": RunInterruptedError.exit_code,
        }
        return codes[self.state]

    def to_json(self) -> dict[str, Any]:
        """Return what ``verify --json`` prints."""
        return {
            "run": self.run,
            "whole": self.state == "whole",
            "state": self.state,
            "checked": [asdict(found) for found in self.checked],
            "problems": [asdict(problem) for problem in self.problems],
            "record": self.record.to_json(),
            "signature": None if self.signature is None else self.signature.to_json(),
            "unchecked": list(self.record.unchecked),
        }


def verify_all(folder: RunFolder, key: str | Path | None = None) -> Verification:
    """Hold a run folder against its manifests, its record and, by a public key, its signatures; writes nothing.

    Raises:
        StorageError: this is no run folder, or the key cannot be read.
        DamagedArtifactError: its ``run.json`` is damaged.
        SpecError: the key is none that signatures are checked with.
    """
    run = folder.read()
    record = check_record(folder.path, run)
    signature = None if key is None else check_signature(folder.path, record, Path(key))

    def digest(path: Path) -> str:  # of what was hashed for the record already
        known = record.entries.get(path.relative_to(folder.path).as_posix())
        return file_digest(path) if known is None else known.sha256

    return Verification(str(folder.path), verify_run(folder, digest), record, signature)


def sign_run(folder: RunFolder, key: Path, ask: Callable[[], str] | None = None) -> dict[str, Any]:
    """Sign a run that verifies; see ``sign_record``. What could not be checked is told under ``unchecked``.

    Raises:
        DamagedArtifactError: a file differs.
        StorageError: a command was cut short, or still writes.
    """
    unchecked = list[str]()

    def verify() -> Chain | None:
        found = verify_all(folder)
        if found.problems:
            first = found.problems[0]
            raise DamagedArtifactError(str(folder.path), first.file, first.detail)
        if found.state != "whole":
            raise StorageError(f"nothing was signed: {found.sentence}")
        unchecked.extend(found.record.unchecked)
        return found.record.chain

    signature = sign_record(folder.path, key, ask, verify)
    return {**signature, "unchecked": unchecked}


def verify_run(folder: RunFolder, digest: Digest = file_digest) -> list[Checked]:
    """Hold the adapter and every checkpoint against their manifests, SHA-256 by SHA-256; writes nothing.

    A finished run must have its adapter. What a run in progress rotates away meanwhile is left out.

    Args:
        folder: the run folder.
        digest: gives the SHA-256 of a file, where it was hashed already.

    Raises:
        StorageError: this is no run folder.
        DamagedArtifactError: its record is damaged.
    """
    record, sealed = folder.read(), sorted(folder.checkpoints_dir.glob("step-*"))
    adapter = lies_aside(folder.adapter_dir) or folder.adapter_dir  # the record says whether it may lie there
    if adapter.exists() or record["state"] == "finished":
        sealed.insert(0, adapter)
    checked = [(path, _check(path, folder, record, digest)) for path in sealed]
    return [found for path, found in checked if path.exists() or path == adapter]


def verify_adapter(
    folder: RunFolder, record: Mapping[str, Any], digest: Digest = file_digest, place: Path | None = None
) -> list[str]:
    """Hold the adapter against its manifest, and that against the run's record.

    Args:
        folder: the run folder.
        record: content of its ``run.json``.
        digest: gives the SHA-256 of a file.
        place: where the adapter lies, if not in its own place.

    Returns:
        What could not be checked, because an earlier medtune made the run.

    Raises:
        DamagedArtifactError: naming the first file that differs.
    """
    place = place or folder.adapter_dir
    kept: Mapping[str, Any] = record.get("adapter", {})
    manifest, recorded = place / MANIFEST, kept.get("manifest")
    if recorded is None and not manifest.exists():
        return ["that the files of its adapter are those that were saved (it kept no list of them)"]
    verify_folder(place, digest=digest)
    if recorded is None:
        return ["that the list of its adapter's files is the one that was saved (its record does not name it)"]
    if file_digest(manifest) not in (recorded, kept.get(NEXT_MANIFEST)):
        raise DamagedArtifactError(str(place), MANIFEST, "is not the one that the run recorded")
    return []


def _check(path: Path, folder: RunFolder, record: Mapping[str, Any], digest: Digest) -> Checked:
    files, name = 0, path.relative_to(folder.path).as_posix()
    try:
        files = len(read_manifest(path)["files"])
        if path.parent == folder.path:
            verify_adapter(folder, record, digest, path)
        else:
            CheckpointStore.verify(path, digest)
    except DamagedArtifactError as error:
        return Checked(name, files, f"file '{error.file}' {error.reason}")
    return Checked(name, files, "")


def _of_manifest(found: Checked) -> Problem:
    file = found.problem.partition("'")[2].partition("'")[0]
    return Problem(f"{found.path}/{file}".removeprefix("./"), "changed", found.problem.partition("' ")[2])
