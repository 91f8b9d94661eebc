"""Keeps a run's record while a command writes: marked before, one line after, and lines between where asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtune.errors import MedtuneError
from medtune.machine.owner_only import is_staged
from medtune.runs.durable import attempt
from medtune.runs.record.chain import Change, append, read_chain
from medtune.runs.record.explained import difference, left_aside, newest_checkpoint, sealed_folder, sealed_now
from medtune.runs.record.left import require_as_left, require_not_lost
from medtune.runs.record.packages import packages
from medtune.runs.record.tree import RECORD, Files, files_of, measured, regular_bytes
from medtune.runs.record.writers import EVERYTHING, Mark, Writer, forget, writers_in
from medtune.specs.bounded import BoundsError

__all__ = ["Recording", "close_after", "has_record", "recorded", "recorded_around"]

_SMALL = 1 << 20  # bytes of a file that is told from before by its content; larger ones by what the system says of them


class Recording:
    """What one command adds to the record of a run; until ``begin`` it adds nothing.

    Args:
        folder: the run folder.
        command: its name.
        scope: names that it may write, relative to the folder; see ``Writer``.
    """

    def __init__(self, folder: Path, command: str, scope: Sequence[str] = (EVERYTHING,)) -> None:
        self.folder, self.command, self.scope = folder, command, tuple(scope)
        self._mark: Mark | None = None
        self._run_id = ""
        self._before: dict[str, object] = {}
        self._promised: dict[str, list[str]] = {}

    @property
    def run_id(self) -> str:
        """Id of the run, empty before ``begin``."""
        return self._run_id

    def begin(self, run_id: str = "") -> None:
        """Mark the folder, take in what killed commands left, and open a record where there is none.

        Args:
            run_id: of a run that keeps no record yet; whatever lies in its folder is taken in as it is.

        Raises:
            DamagedArtifactError: the record is not what was appended, or is gone; or what the command goes on with is not as it was left.
            WriteFailedError: the folder cannot be written to.
        """
        if self._mark is not None:
            return
        chain = read_chain(self.folder) if has_record(self.folder) else None
        if chain is None:
            require_not_lost(self.folder)
        else:
            require_as_left(self.folder, chain, Writer("", "", self.scope, {}, is_alive=True), writers_in(self.folder))
        self._run_id = chain.run_id if chain else run_id
        self._mark = Mark(self.folder, self.command, self.scope)
        if chain is None:
            found = files_of(self.folder)
            self._append(Change(self.command, measured(self.folder, found.regular), facts={"packages": packages()}))
        else:
            self._recover()
        self._before = self._seen(files_of(self.folder), lambda _name: True)

    def promise_for(self, name: str) -> Callable[[str], None] | None:
        """Return what takes the hash of a manifest just before that sealed folder is renamed into place; None before ``begin``."""
        if self._mark is None:
            return None
        mark = self._mark

        def promise(manifest: str) -> None:
            mark.promise(name, manifest)
            self._promised.setdefault(name, []).append(manifest)

        return promise

    def keep(self, *names: str, facts: Mapping[str, Any] | None = None) -> None:
        """Append what the command changed so far, of files with those names or below them."""
        if self._mark is not None:
            scope = Writer("", "", names, {}, is_alive=True)
            self._take(facts or {}, scope.may_write)

    def close(self) -> None:
        """Append what the command changed, and take the mark away."""
        if self._mark is not None:
            self._take({}, Writer("", "", self.scope, {}, is_alive=True).may_write)
            self._mark.remove()
            self._mark = None

    def name_of(self, place: Path) -> str:
        """Return the name that a place in the folder has in the record."""
        return _settled(place).relative_to(self.folder.resolve()).as_posix()

    def is_own(self, name: str) -> bool:
        """Whether a sealed folder is the one that the record, where there is one, knows under that name."""
        chain = read_chain(self.folder) if self._mark is not None else None
        if chain is None:
            return True
        known = {file: entry for file, entry in chain.files.items() if sealed_folder(file) == name}
        return bool(known) and known == sealed_now(self.folder, name, {entry.sha256 for entry in known.values()})

    def _take(self, facts: Mapping[str, Any], is_asked: Callable[[str], bool]) -> None:
        """Append what this command did: sealed folders as promised, other files that are not as they were before."""
        files = files_of(self.folder)
        now = self._seen(files, is_asked)
        changed = dict(
            entry
            for name, manifests in self._promised.items()
            if is_asked(f"{name}/")
            for entry in sealed_now(self.folder, name, manifests).items()
        )
        loose = [name for name, seen in now.items() if not self._is_sealed(name) and self._before.get(name) != seen]
        changed |= measured(self.folder, loose)
        gone = [name for name in self._before if is_asked(name) and name not in now and not files.hides(name)]
        removed = [name for name in gone if not sealed_folder(name)] + self._rotated(gone, files)
        self._append(Change(self.command, changed, removed, facts, self._token))
        self._before = {
            name: seen for name, seen in self._before.items() if name not in removed
        }  # now that it is written
        self._before |= {name: now[name] for name in changed if name in now}

    def _is_sealed(self, name: str) -> bool:
        return bool(sealed_folder(name)) or any(name.startswith(f"{folder}/") for folder in self._promised)

    def _rotated(self, gone: Sequence[str], files: Files) -> list[str]:
        """Return files of sealed folders that may be gone: of checkpoints all or none, and not of the newest."""
        sealed = [name for name in gone if sealed_folder(name).startswith("checkpoints/")]
        chain = read_chain(self.folder) if sealed else None
        newest = newest_checkpoint(self.folder, chain, list(self._promised)) if chain else ""
        there = {sealed_folder(name) for name in files.regular} | {newest}
        return [name for name in sealed if newest and sealed_folder(name) not in there]

    def _seen(self, files: Files, is_asked: Callable[[str], bool]) -> dict[str, object]:
        """Return for each file of the scope what tells whether it was written since; of sealed folders the names will do."""
        scope = Writer("", "", self.scope, {}, is_alive=True)
        mine = {name: found for name, found in files.regular.items() if scope.may_write(name) and is_asked(name)}
        small = [name for name, found in mine.items() if found.st_size <= _SMALL and not self._is_sealed(name)]
        told: Mapping[str, object] = measured(self.folder, small)
        return {
            name: told.get(name, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
            for name, found in mine.items()
        }

    def _recover(self) -> None:
        """Take in what killed commands left, marked as seen by nobody unless they promised it."""
        for writer in writers_in(self.folder):
            chain = read_chain(self.folder)
            if writer.is_alive or chain is None:
                continue
            self._sweep(writer)
            files = files_of(self.folder)
            left = difference(self.folder, chain, [writer], files, lambda names: measured(self.folder, names))
            changed = {name: entry for name, entry in left.changed.items() if not left_aside(name, files)}
            removed = [name for name in left.removed if not _waits(name, files)]
            unproven = sorted(left.unproven & {*changed, *removed})
            self._append(Change(f"recover {writer.command}", changed, removed, {}, writer.token, unproven))
            forget(self.folder, writer.token)

    def _sweep(self, dead: Writer) -> None:
        """Remove the half-written files of a killed command, which the next lock of the run would take away unseen."""
        alive = [writer for writer in writers_in(self.folder) if writer.is_alive and writer.token != self._token]
        for name in files_of(self.folder).regular:
            is_left = is_staged(name.rpartition("/")[2]) and not sealed_folder(name) and dead.may_write(name)
            if is_left and not any(writer.may_write(name) for writer in alive):
                attempt((self.folder / name).unlink, "what a killed command left", self.folder / name)

    @property
    def _token(self) -> str:
        return self._mark.token if self._mark else ""

    def _append(self, change: Change) -> None:
        append(self.folder, self._run_id, change)


@contextmanager
def recorded(folder: Path, command: str, scope: Sequence[str]) -> Iterator[Recording]:
    """Record what a command writes into a run folder; one without a record gets none.

    Args:
        folder: the run folder.
        command: its name.
        scope: see ``Recording``.

    Raises:
        DamagedArtifactError: the record is not what was appended.
        WriteFailedError: the folder cannot be written to.
    """
    recording = Recording(folder, command, scope)
    if has_record(folder):
        recording.begin()
    else:
        require_not_lost(folder)
    try:
        yield recording
    except BaseException as error:
        close_after(recording, error)
        raise
    recording.close()


@contextmanager
def recorded_around(place: Path, command: str) -> Iterator[Recording | None]:
    """Record what a command writes at a place that may lie in a run folder with a record; yields None elsewhere.

    Args:
        place: a file or folder; a folder of that name with ``-refused`` behind it belongs to it.
        command: its name.
    """
    place = _settled(place)
    folder = next((above for above in place.parents if has_record(above)), None)
    if folder is None:
        yield None
        return
    name = place.relative_to(folder).as_posix()
    with recorded(folder, command, (name, f"{name}/", f"{name}-refused/")) as recording:
        yield recording


def close_after(recording: Recording, error: BaseException) -> None:
    """Close a recording after an error, which stays the one that matters."""
    try:
        recording.close()
    except MedtuneError as second:
        error.add_note(f"while this was recorded: {second}")


def has_record(folder: Path) -> bool:
    """Whether a folder keeps a record with a line or more."""
    try:
        return b"\n" in regular_bytes(folder / RECORD)
    except BoundsError:  # whoever reads it says what it is
        return True
    except OSError:
        return False


def _settled(place: Path) -> Path:
    """Return where a file of that name lies, whatever links and ".." lead there; it may be a link itself."""
    return place.resolve() if place.name in ("", "..") else place.parent.resolve() / place.name


def _waits(name: str, files: Files) -> bool:
    """Whether a file of a sealed folder lies aside until that folder is put back."""
    above, _, inside = sealed_folder(name).rpartition("/")
    place = f"{above}/.replaced-{inside}/" if above else f".replaced-{inside}/"
    return any(other.startswith(place) for other in files.regular)
