"""Checkpoints that are complete or absent: staged, sealed, renamed, and verified before older ones go."""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.errors import DamagedArtifactError, UnsafeArtifactError, WriteFailedError
from medtune.machine.owner_only import give_folder, make_folder, own_folder_beside, refuse_link_out
from medtune.runs.durable import Pause, attempt, require_space, sync_directory
from medtune.runs.manifest import MANIFEST, file_digest, forget_cached_pages, read_manifest, seal_folder, verify_folder

if TYPE_CHECKING:
    from medtune.runs.record.recording import Recording

__all__ = [
    "PICKLE_SUFFIXES",
    "Checkpoint",
    "CheckpointStore",
    "PassedOver",
    "Promise",
    "WriteFolder",
    "lies_aside",
    "publish",
    "put_back",
]

WriteFolder = Callable[[Path], None]
"""Writes files into the empty folder it gets; may be called again in a fresh folder after a passing error."""

Promise = Callable[[str], None]
"""Takes the hash of a folder's manifest just before the folder is renamed into place."""

_NAME = re.compile(r"step-(\d{6,})")
_STAGING, _REPLACED, _DISCARDED = ".staging-", ".replaced-", ".discarded-"
PICKLE_SUFFIXES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
"""Endings of files that may be pickles, which run code when they are loaded."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint: its folder and the update it was taken after."""

    path: Path
    step: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A checkpoint that cannot be used, and why, naming the damaged file."""

    path: Path
    reason: str


class CheckpointStore:
    """The checkpoints of one run, written by one process at a time (the run's lock sees to that).

    Args:
        root: folder that holds the checkpoints.
        keep: checkpoints kept; older ones go after a newer one has been read back from the device and verified.
        expected_bytes: size of a checkpoint before the first is known, for the check of free space.
        pause: waits between two attempts of a failed write.
        witness: the record of the run, which is told before a checkpoint is renamed into place and after.
    """

    def __init__(
        self,
        root: Path,
        keep: int,
        expected_bytes: int = 0,
        pause: Pause = time.sleep,
        witness: "Recording | None" = None,
    ) -> None:
        self.root, self.keep, self.expected_bytes = root, keep, expected_bytes
        self._pause, self._witness = pause, witness
        self.pinned: int | None = None
        """Step whose checkpoint stays, besides the ``keep`` newest ones."""
        self._rotation: Future[None] | None = None

    def save(self, step: int, write: WriteFolder) -> Path:
        """Make the checkpoint of ``step`` durable and return its folder; older ones go in the background.

        Raises:
            DiskFullError: there is less free space than a checkpoint takes; nothing was touched.
            WriteFailedError: the system refused a write; the checkpoints that were there still are.
        """
        self.settle()
        target = self.path_of(step)
        attempt(self._clear_leftovers, "a checkpoint", self.root, self._pause)
        require_space(self.root, self.expected_bytes)
        promise = None if self._witness is None else self._witness.promise_for(f"{self.root.name}/{target.name}")
        publish(target, write, {"step": step}, self._pause, promise)
        self.expected_bytes = max(self.expected_bytes, _folder_bytes(target))
        rotation = ThreadPoolExecutor(1, "medtune-rotation")
        self._rotation = rotation.submit(self._rotate, step)
        rotation.shutdown(wait=False)
        if self._witness is not None:
            self._witness.keep(f"{self.root.name}/", "log.jsonl", "run.json")
        return target

    def settle(self) -> None:
        """Wait until the last save was verified and rotation is done; raise what went wrong in it."""
        rotation, self._rotation = self._rotation, None
        if rotation is not None:
            rotation.result()

    def path_of(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self.root / f"step-{step:06d}"

    @property
    def newest_step(self) -> int | None:
        """Step of the newest checkpoint, unverified; None without one."""
        return max((step for step, _path in self._steps()), default=None)

    def newest_whole(
        self, is_own: Callable[[Path], bool] = lambda _path: True
    ) -> tuple[Checkpoint | None, list[PassedOver]]:
        """Return the newest checkpoint that verifies, and the newer ones that do not; needs the run's lock.

        Args:
            is_own: whether a checkpoint is one that this run saved.
        """
        self.settle()
        attempt(self._restore_replaced, "a checkpoint", self.root, self._pause)
        passed: list[PassedOver] = []
        for step, path in reversed(self._steps()):
            try:
                self.verify(path)
            except DamagedArtifactError as error:
                passed.append(PassedOver(path, f"file '{error.file}' {error.reason}"))
            else:
                if is_own(path):
                    return Checkpoint(path, step), passed
                passed.append(PassedOver(path, f"file '{MANIFEST}' is not the one that the run recorded"))
        return None, passed

    @staticmethod
    def verify(path: Path, digest: Callable[[Path], str] | None = None) -> None:
        """Raise DamagedArtifactError, naming the file, unless the checkpoint is what was saved under its name."""
        named = _NAME.fullmatch(path.name)
        verify_folder(path, {"step": int(named[1])} if named else None, digest)

    def _rotate(self, newest: int) -> None:
        """Delete what the checkpoint of step ``newest`` makes superfluous, once it was read back intact.

        Checkpoints of later steps are of a history that this run left, or damaged: they go too.
        """
        steps = self._steps()
        older = [path for step, path in steps if step < newest and step != self.pinned]
        surplus = older[: max(0, len(older) - (self.keep - 1))] + [path for step, path in steps if step > newest]
        if not surplus:
            return
        path = self.path_of(newest)
        forget_cached_pages(path)
        try:
            self.verify(path)
        except DamagedArtifactError as error:
            reason = f"file '{error.file}' does not read back as it was written; check the device"
            raise WriteFailedError("a checkpoint", str(path), reason) from error
        for old in surplus:
            attempt(partial(_discard, old), "the rotation of checkpoints", self.root, self._pause)

    def _steps(self) -> list[tuple[int, Path]]:
        """Return (step, folder) of all checkpoints, oldest first."""
        if not self.root.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self.root.iterdir())
        return sorted((int(match[1]), path) for match, path in named if match)

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left half-written or half-deleted."""
        self._restore_replaced()
        for prefix in (_STAGING, _REPLACED, _DISCARDED):
            for leftover in self.root.glob(f"{prefix}*") if self.root.is_dir() else ():
                shutil.rmtree(leftover)

    def _restore_replaced(self) -> None:
        """Put a checkpoint back whose replacement was cut short between its two renames."""
        for aside in self.root.glob(f"{_REPLACED}*") if self.root.is_dir() else ():
            put_back(self.root / aside.name.removeprefix(_REPLACED))


def publish(
    target: Path,
    write: WriteFolder,
    facts: Mapping[str, Any] | None = None,
    pause: Pause = time.sleep,
    promise: Promise | None = None,
) -> Path:
    """Write the folder ``target`` so that it is there whole, with its manifest, or not there.

    An existing folder of that name is replaced; it is given up only when the new one is sealed.

    Raises:
        WriteFailedError: the system refused a write; the existing folder still stands.
        UnsafeArtifactError: ``write`` left a file that may be a pickle.
    """
    attempt(lambda: _publish_once(target, write, facts or {}, promise), f"folder '{target.name}'", target, pause)
    return target


def _publish_once(target: Path, write: WriteFolder, facts: Mapping[str, Any], promise: Promise | None) -> None:
    make_folder(target.parent)
    refuse_link_out(target)
    put_back(target)
    for leftover in _leftovers_of(target):
        shutil.rmtree(leftover)
    staging = own_folder_beside(target, _STAGING)
    try:
        write(staging)
        _refuse_pickles(staging)
        seal_folder(staging, facts)
        give_folder(staging)
        if promise is not None:
            promise(file_digest(staging / MANIFEST))
        _swap_in(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _leftovers_of(target: Path) -> list[Path]:
    """Return what a killed process left of ``publish``."""
    staged = re.compile(re.escape(_STAGING + target.name) + "(-[a-z0-9_]{8})?")  # earlier releases drew no name
    fixed = {prefix + target.name for prefix in (_REPLACED, _DISCARDED)}
    entries = target.parent.iterdir()
    return [path for path in entries if path.name in fixed or staged.fullmatch(path.name)]


def _swap_in(staging: Path, target: Path) -> None:
    """Rename the sealed folder into place; what stood there waits under another name until that is durable."""
    aside = target.with_name(_REPLACED + target.name)
    if target.exists():
        target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        if aside.exists():
            with contextlib.suppress(OSError):  # else ``put_back`` puts it back later
                aside.rename(target)
        raise
    sync_directory(target.parent)
    if aside.exists():
        with contextlib.suppress(OSError):  # the new folder stands; the next save clears this one
            _discard(aside)


def lies_aside(target: Path) -> Path | None:
    """Return where a folder lies whose replacement was cut short between its two renames, None where it was not."""
    aside = target.with_name(_REPLACED + target.name)
    return aside if aside.exists() and not target.exists() else None


def put_back(target: Path) -> None:
    """Put a folder back whose replacement was cut short between its two renames; needs the lock of its run."""
    if (aside := lies_aside(target)) is not None:
        _move(aside, target)


def _discard(path: Path) -> None:
    """Delete a folder; renamed first, so that a half-deleted one never looks like a checkpoint."""
    doomed = path.with_name(_DISCARDED + path.name.removeprefix(_REPLACED))
    if path.exists():
        if doomed.exists():
            shutil.rmtree(doomed)
        _move(path, doomed)
    if doomed.exists():
        shutil.rmtree(doomed)


def _move(source: Path, target: Path) -> None:
    source.rename(target)
    sync_directory(target.parent)


def _refuse_pickles(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in PICKLE_SUFFIXES:
            raise UnsafeArtifactError(
                f"'{path.name}' may be a pickle, which runs code when it is loaded: write safetensors or JSON instead"
            )


def _folder_bytes(folder: Path) -> int:
    return sum(entry["bytes"] for entry in read_manifest(folder)["files"].values())
