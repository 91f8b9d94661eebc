"""Prepared sets on disk: found again by what they were made from, whole or absent, bounded in size."""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.pack import SampleStore
from medtune.data.samples import open_samples, writing
from medtune.errors import StorageError
from medtune.machine.owner_only import make_folder, write_text
from medtune.specs.bounded import json_file

__all__ = ["CacheEntry", "PreparedCache", "cache_key", "default_cache_dir"]

_FACTS = "facts.json"
_STAGING = ".staging-"
_LIMIT_BYTES = 20 * 2**30
_ABANDONED_SECONDS = 24 * 3600
"""Age after which the files of a process that never finished go: no preparation writes nothing for a day."""


def default_cache_dir() -> Path:
    """Return ``MEDTUNE_CACHE``, else ``medtune`` in the user's cache folder."""
    given = os.environ.get("MEDTUNE_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "medtune"


def cache_key(facts: Mapping[str, Any]) -> str:
    """Return SHA-256 over everything that decides the prepared arrays."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One prepared set: key, size in bytes, and when it was last used (seconds since the epoch)."""

    key: str
    size_bytes: int
    used: float


class PreparedCache:
    """A folder of prepared sets; only its owner may read them, since ids spell out the text.

    Args:
        root: the folder.
        limit_bytes: size above which the longest unused sets go.
    """

    def __init__(self, root: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        self.root, self.limit_bytes = root, limit_bytes

    def find(self, key: str) -> tuple[SampleStore, dict[str, Any]] | None:
        """Return the memory-mapped set of ``key`` and its facts; None when it is not there, or damaged."""
        folder = self.root / key
        try:
            facts: dict[str, Any] = json_file(folder / _FACTS, finite=False)
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
        folder = self.root / f"{_STAGING}{uuid.uuid4().hex}"
        with writing(folder):
            make_folder(self.root)
            make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, key: str, folder: Path, facts: Mapping[str, Any]) -> SampleStore:
        """Keep the set written into ``folder`` and return it; one that another process kept meanwhile is as good."""
        with writing(folder):
            write_text(folder / _FACTS, json.dumps(facts))
            try:
                folder.rename(self.root / key)
            except OSError:
                found = self.find(key)
                if found is not None:
                    return found[0]
                shutil.rmtree(self.root / key, ignore_errors=True)  # damaged
                folder.rename(self.root / key)
            self.prune(keep=key)
        kept = self.find(key)
        if kept is None:
            raise StorageError(f"the cache '{self.root}' lost a set as it was kept; see whether something clears it")
        return kept[0]

    def entries(self) -> list[CacheEntry]:
        """Return the sets, the longest unused first."""
        found = [
            CacheEntry(f.name, _size(f), f.stat().st_mtime)
            for f in (self.root.iterdir() if self.root.is_dir() else ())
            if (f / _FACTS).is_file() and not f.name.startswith(_STAGING)
        ]
        return sorted(found, key=lambda e: e.used)

    def prune(self, keep: str = "") -> int:
        """Remove what was abandoned, and the longest unused sets until the limit holds; return the bytes freed."""
        freed = self._remove_abandoned()
        entries = self.entries()
        left = sum(e.size_bytes for e in entries)
        for entry in entries:
            if left <= self.limit_bytes:
                break
            if entry.key != keep:
                shutil.rmtree(self.root / entry.key, ignore_errors=True)
                freed += entry.size_bytes
                left -= entry.size_bytes
        return freed

    def clear(self) -> int:
        """Remove every set; return the bytes freed."""
        freed = sum(e.size_bytes for e in self.entries())
        shutil.rmtree(self.root, ignore_errors=True)
        return freed

    def _remove_abandoned(self) -> int:
        """Remove what processes that were killed left behind."""
        freed = 0
        for folder in self.root.glob(f"{_STAGING}*"):
            times = [p.stat().st_mtime for p in (folder, *folder.iterdir())]
            if max(times) < time.time() - _ABANDONED_SECONDS:
                freed += _size(folder)
                shutil.rmtree(folder, ignore_errors=True)
        return freed


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir())
