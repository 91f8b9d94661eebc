"""Prepared sets on disk: found again by what they were made from, whole or absent, bounded in size."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.cache_folder import (
    FACTS_FILE,
    entry_folders,
    is_old,
    is_own_set,
    is_written,
    mark,
    new_staging,
    release,
    remove_set,
    require_own,
    size_of,
    staging_folders,
)
from medtune.data.pack import SampleStore
from medtune.data.samples import open_samples, writing
from medtune.errors import ForeignFolderError, StorageError, UnknownSetError
from medtune.errors.masking import masked
from medtune.machine.file_systems import is_network
from medtune.machine.owner_only import is_own, write_text
from medtune.specs.bounded import json_file

__all__ = ["CacheEntry", "Cleared", "PreparedCache", "cache_key", "default_cache_dir"]

_LIMIT_BYTES = 20 * 2**30
_IN_USE_SECONDS = 14 * 24 * 3600


def default_cache_dir() -> Path:
    """Return ``MEDTUNE_CACHE``, else ``medtune`` in the user's cache folder."""
    given = os.environ.get("MEDTUNE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "medtune"


def cache_key(facts: Mapping[str, Any]) -> str:
    """Return SHA-256 over everything that decides the prepared arrays."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One prepared set.

    Attributes:
        key: by which it is found.
        size_bytes: of its files.
        used: when it was last used, in seconds since the epoch.
        made: when it was prepared, likewise.
        rows: rows that are trained on.
        sources: the data sets or files that it was made of, without credentials.
    """

    key: str
    size_bytes: int
    used: float
    made: float
    rows: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was removed: bytes, sets, and what was left, each with the reason."""

    freed_bytes: int
    removed: int
    left: Mapping[str, str]


class PreparedCache:
    """A folder of prepared sets; only its owner may read them, since ids spell out the text.

    Whatever else lies in the folder is neither read nor removed, nor is a set that another user owns or that is a link.

    Args:
        root: the folder.
        limit_bytes: size above which the longest unused sets go.
    """

    def __init__(self, root: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        self.root, self.limit_bytes = root, limit_bytes

    def find(self, key: str) -> tuple[SampleStore, dict[str, Any]] | None:
        """Return the memory-mapped set of ``key`` and its facts; None when it is not there, or damaged."""
        folder = self.root / key
        if not is_own_set(folder):
            return None
        try:
            facts: dict[str, Any] = json_file(folder / FACTS_FILE, finite=False)
            store = open_samples(folder, facts["samples"])
            os.utime(folder)
        except (OSError, ValueError):
            return None
        return None if store is None else (store, facts)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a folder to write a set into; it goes when the block ends, unless the set was kept.

        Raises:
            StorageError: it cannot be made.
        """
        with ExitStack() as held:
            with writing(self.root / FACTS_FILE):
                mark(self.root)
                folder = held.enter_context(new_staging(self.root))
            if not is_own(folder, stat.S_ISDIR):
                with suppress(OSError):
                    folder.rmdir()
                raise StorageError(
                    f"the file system of the cache '{self.root}' gives what this user writes another owner, as servers do that "
                    "squash root; set MEDTUNE_CACHE to another folder, or data.cache=false"
                )
            try:
                yield folder
            finally:
                with suppress(OSError, ForeignFolderError):
                    remove_set(folder)

    def keep(self, key: str, folder: Path, facts: Mapping[str, Any]) -> SampleStore:
        """Keep the set written into ``folder`` and return it; one that another process kept meanwhile is as good."""
        with writing(folder):
            write_text(folder / FACTS_FILE, json.dumps(facts))
            release(folder)
            try:
                folder.rename(self.root / key)
            except OSError:
                found = self.find(key)
                if found is not None:
                    return found[0]
                remove_set(self.root / key)  # damaged
                folder.rename(self.root / key)
            self.prune(keep=key)
        kept = self.find(key)
        if kept is None:
            raise StorageError(f"the cache '{self.root}' lost a set as it was kept; see whether something clears it")
        return kept[0]

    def entries(self) -> list[CacheEntry]:
        """Return the sets, the longest unused first."""
        found = [entry for folder in entry_folders(self.root) if (entry := _entry(folder)) is not None]
        return sorted(found, key=lambda e: e.used)

    def prune(self, keep: str = "") -> int:
        """Remove what was abandoned, and the longest unused sets until the limit holds; return the bytes freed.

        On a network file system a set that was used in the last two weeks stays: another host may have it mapped, and would
        read nothing more once its files are gone.
        """
        freed, spared_since = 0, time.time() - _IN_USE_SECONDS if is_network(self.root) else float("inf")
        for folder in staging_folders(self.root):
            with suppress(OSError, ForeignFolderError):
                freed += 0 if is_written(folder) or not is_old(folder) else remove_set(folder)
        entries = self.entries()
        left = sum(e.size_bytes for e in entries)
        for entry in entries:
            if left <= self.limit_bytes:
                break
            if entry.key != keep and entry.used < spared_since:
                with suppress(OSError, ForeignFolderError):
                    freed += remove_set(self.root / entry.key)
                    left -= entry.size_bytes
        return freed

    def clear(self) -> Cleared:
        """Remove every set, and what processes that ended left behind; nothing else, and no set that is being written.

        Raises:
            ForeignFolderError: the folder is a link, or not one that medtune marked as its cache.
        """
        if not os.path.lexists(self.root):
            return Cleared(0, 0, {})
        require_own(self.root)
        unfinished = staging_folders(self.root)
        written = {f.name: "is being written by another process" for f in unfinished if is_written(f)}
        return self._removed([*entry_folders(self.root), *(f for f in unfinished if f.name not in written)], written)

    def remove(self, keys: Sequence[str]) -> Cleared:
        """Remove the sets whose keys begin so.

        Raises:
            UnknownSetError: of one of them there is none, or several; nothing was removed.
            ForeignFolderError: as for ``clear``.
        """
        folders: dict[str, Path] = {}
        for key in keys:
            found = [f for f in entry_folders(self.root) if f.name.startswith(key)] if key else []
            if len(found) != 1:
                raise UnknownSetError(key, str(self.root), len(found))
            folders[found[0].name] = found[0]
        require_own(self.root)
        return self._removed(folders.values(), {})

    def _removed(self, folders: Iterable[Path], left: Mapping[str, str]) -> Cleared:
        freed, count, left = 0, 0, dict(left)
        for folder in folders:
            try:
                freed += remove_set(folder)
                count += 1
            except ForeignFolderError as error:
                left[folder.name] = error.problem
            except OSError as error:
                left[folder.name] = error.strerror or type(error).__name__
        return Cleared(freed, count, left)


def _entry(folder: Path) -> CacheEntry | None:
    """Describe a set; None when it is another user's, or damaged."""
    if not is_own_set(folder):
        return None
    facts_file = folder / FACTS_FILE
    try:
        report = json_file(facts_file, finite=False)["report"]
        sources = dict.fromkeys(masked(str(member["source"])) for member in report["account"])
        times = folder.stat().st_mtime, facts_file.stat().st_mtime
        return CacheEntry(folder.name, size_of(folder), *times, int(report["rows"]), tuple(sources))
    except (OSError, ValueError, LookupError, TypeError):
        return None
