"""Makes files of a repository local: those in the cache are checked once, the others fetched, and nothing else asked for."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from medtune.data.hub.refusals import explained
from medtune.data.hub.repository import RepoFile, Repository, readable_by_owner
from medtune.data.hub.transfer import digest_of, link, transfer
from medtune.data.hub.watch import Patience, Tell, Watch, watched
from medtune.errors import DiskFullError, HubUnreachableError
from medtune.plugins.plan_in_words import size_in_words
from medtune.specs.bounded import json_file

__all__ = ["Listener", "Progress", "make_local", "missing_bytes", "require_space"]

_THREADS = 4
_SPARE = 256 * 2**20
"""Bytes that are left free on the disk of the cache."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is.

    Attributes:
        repository: name.
        done: bytes, those that were fetched before included.
        total: bytes.
        per_second: bytes, on average since it began.
    """

    repository: str
    done: int
    total: int
    per_second: float

    @property
    def seconds_left(self) -> float | None:
        """Estimate; None before the first byte."""
        return (self.total - self.done) / self.per_second if self.per_second else None


def _ignore(_event: object) -> None:
    """Take an event that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom a download tells what, and how long it waits.

    Attributes:
        tell: takes sentences.
        progress: takes how far it is, at most ten times a second.
        patience: with the hub.
    """

    tell: Tell = _ignore
    progress: Callable[[Progress], None] = _ignore
    patience: Patience = field(default_factory=Patience)


def missing_bytes(repository: Repository, files: Sequence[RepoFile]) -> int:
    """Return the bytes of ``files`` that are still to be fetched."""
    return sum(
        file.size - _partial_bytes(repository, file) for file in files if not _blob_of(repository, file).exists()
    )


def make_local(repository: Repository, files: Sequence[RepoFile], listener: Listener) -> Path:
    """Return the folder of a repository at a commit in which ``files`` lie, each with the bytes that the hub states.

    A file in the cache is hashed once, and again when its size or time changes. One whose hash is wrong is fetched anew.

    Raises:
        HubError: the hub cannot be reached, or refuses; what was fetched is kept.
        CorruptDownloadError: a file is not what the hub states, twice or without a connection.
        DiskFullError: the disk of the cache has no room for what is missing.
        StorageError: the cache cannot be written.
    """
    checked = _Checked(repository)
    if all(checked.has(file) for file in files):
        return repository.snapshot
    try:
        with readable_by_owner(repository), _alone(repository, listener.tell):
            wrong = _wrong(repository, files, checked, listener)
            if wrong:
                require_space(repository, wrong)
                _fetch(repository, wrong, checked, listener)
            checked.keep()
    except OSError as error:
        raise explained(error, repository) from error
    return repository.snapshot


class _Checked:
    """Notes which blobs were hashed, by size and time."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._place = repository.own / "checked.json"
        try:
            self._stamps: dict[str, list[int]] = json_file(self._place)
        except (OSError, ValueError):
            self._stamps = {}

    def has(self, file: RepoFile) -> bool:
        """Whether a file lies in the snapshot as it was when it was hashed."""
        stamp = _stamp(self._repository.snapshot / file.path)
        return stamp is not None and self._stamps.get(self._key(file)) == stamp

    def note(self, file: RepoFile) -> None:
        """Note that a file was hashed."""
        stamp = _stamp(self._repository.snapshot / file.path)
        if stamp is not None:
            self._stamps[self._key(file)] = stamp

    def keep(self) -> None:
        """Write it down; where that cannot be done, files are hashed again the next time."""
        with suppress(OSError):
            self._place.parent.mkdir(parents=True, exist_ok=True)
            staged = self._place.with_suffix(f".{os.getpid()}.staging")
            staged.write_text(json.dumps(self._stamps), "utf-8")
            staged.replace(self._place)

    @staticmethod
    def _key(file: RepoFile) -> str:
        return file.digest


def _stamp(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _wrong(repository: Repository, files: Sequence[RepoFile], checked: _Checked, listener: Listener) -> list[RepoFile]:
    """Return the files that are not there or not whole; what lies in the cache is linked and hashed."""
    wrong: list[RepoFile] = []
    watch: Watch = Watch(listener.patience, listener.tell)
    for file in files:
        if checked.has(file):
            continue
        place, blob = repository.snapshot / file.path, _blob_of(repository, file)
        if not place.exists() and blob.is_file():
            link(repository, file, blob)
        if not place.exists():
            wrong.append(file)
        elif digest_of(place, file, watch) == file.digest:
            checked.note(file)
        else:
            listener.tell(f"'{file.path}' of '{repository.name}' is corrupt in the cache; it is fetched anew")
            _discard(repository, file)
            wrong.append(file)
    return wrong


def _discard(repository: Repository, file: RepoFile) -> None:
    """Take a corrupt file out of the way; without a hub to fetch it from it stays, and is refused."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise repository.corrupt(
            file.path, "its bytes in the cache are not what the hub stated, and HF_HUB_OFFLINE is set"
        )
    (repository.snapshot / file.path).unlink()
    _blob_of(repository, file).unlink(missing_ok=True)


def _fetch(repository: Repository, files: Sequence[RepoFile], checked: _Checked, listener: Listener) -> None:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        reason = "HF_HUB_OFFLINE says not to ask the hub"
        raise HubUnreachableError(repository.what, repository.name, repository.local_option, reason, files[0].path)
    listener.tell(_announcement(repository, files))
    watch: Watch = Watch(listener.patience, listener.tell)
    once = sorted({file.digest: file for file in files}.values(), key=lambda file: file.size)  # small ones fail first
    before = sum(_partial_bytes(repository, file) for file in once)
    total, began = sum(file.size for file in once), time.monotonic()

    def tick() -> None:
        taken = max(time.monotonic() - began, 1e-6)
        done = min(before + watch.received, total)
        listener.progress(Progress(repository.name, done, total, watch.received / taken))

    def job(file: RepoFile) -> Callable[[], Path]:
        return lambda: transfer(repository, file, watch)

    watched(watch, repository, [job(file) for file in once], _THREADS, tick)
    tick()
    for file in files:
        link(repository, file, _blob_of(repository, file))
        checked.note(file)


def _announcement(repository: Repository, files: Sequence[RepoFile]) -> str:
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return (
        f"fetching {count}, {size_in_words(missing_bytes(repository, files))}, of {repository.what} '{repository.name}' at "
        f"{str(repository.revision)[:12]}"
    )


def require_space(repository: Repository, files: Sequence[RepoFile]) -> None:
    """Raise DiskFullError unless the disk of the cache has room for what is still to be fetched of ``files``."""
    existing = repository.cache
    while not existing.exists():
        existing = existing.parent
    needed = missing_bytes(repository, files) + _SPARE
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DiskFullError(str(repository.cache), needed, free, "set HF_HOME to a folder on another disk")


def _blob_of(repository: Repository, file: RepoFile) -> Path:
    return repository.cache / "blobs" / file.digest


def _partial_bytes(repository: Repository, file: RepoFile) -> int:
    stamp = _stamp(_blob_of(repository, file).with_name(f"{file.digest}.medtune-partial"))
    return min(stamp[0], file.size) if stamp else 0


@contextmanager
def _alone(repository: Repository, tell: Tell) -> Iterator[None]:
    """Keep other processes from fetching the same files at the same time."""
    from filelock import FileLock, Timeout

    # said outright: releases of filelock differ in whether they mind the umask, and who can read a lock can hold it
    lock = FileLock(repository.own / "lock", mode=0o600)
    try:
        repository.own.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0.5)
    except Timeout:
        tell(f"another process is fetching '{repository.name}'; waiting for it")
        lock.acquire()
    except (OSError, NotImplementedError):  # a cache that may only be read, or without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()
