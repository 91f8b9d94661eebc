"""Prepared sets on disk: found again by what they were made from, whole or absent, bounded in size."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.data.pack import SampleStore
from medtune.errors import StorageError

__all__ = ["CacheEntry", "PreparedCache", "cache_key", "default_cache_dir"]

_ARRAYS = ("ids", "supervised", "offsets", "members", "bounds", "source_index")
_FACTS = "facts.json"
_LIMIT_BYTES = 20 * 2**30


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
        """Return the memory-mapped set of ``key`` and its facts, or None."""
        folder = self.root / key
        if not (folder / _FACTS).is_file():
            return None
        os.utime(folder)
        return _load(folder)

    def keep(self, key: str, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> tuple[SampleStore, dict[str, Any]]:
        """Store a set and return it memory-mapped; a set that another process stored meanwhile is as good."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            staging = self.root / f".staging-{uuid.uuid4().hex}"
            staging.mkdir(mode=0o700)
            _write(staging, arrays, facts)
            try:
                staging.rename(self.root / key)
            except OSError:
                shutil.rmtree(staging, ignore_errors=True)
                if not (self.root / key / _FACTS).is_file():
                    raise
            self.prune(keep=key)
        except OSError as error:
            raise StorageError(
                f"cannot write the cache '{self.root}': {error.strerror}; free space, set MEDTUNE_CACHE to another "
                "folder, or data.cache=false"
            ) from error
        return _load(self.root / key)

    def entries(self) -> list[CacheEntry]:
        """Return the sets, the longest unused first."""
        found = [
            CacheEntry(f.name, sum(p.stat().st_size for p in f.iterdir()), f.stat().st_mtime)
            for f in (self.root.iterdir() if self.root.is_dir() else ())
            if (f / _FACTS).is_file()
        ]
        return sorted(found, key=lambda e: e.used)

    def prune(self, keep: str = "") -> int:
        """Remove the longest unused sets until the limit holds; return the bytes freed."""
        entries = self.entries()
        total = sum(e.size_bytes for e in entries)
        freed = 0
        for entry in entries:
            if total - freed <= self.limit_bytes:
                break
            if entry.key != keep:
                shutil.rmtree(self.root / entry.key, ignore_errors=True)
                freed += entry.size_bytes
        return freed

    def clear(self) -> int:
        """Remove every set; return the bytes freed."""
        freed = sum(e.size_bytes for e in self.entries())
        shutil.rmtree(self.root, ignore_errors=True)
        return freed


def store_in_memory(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> SampleStore:
    """Return a set without keeping it on disk."""
    return _store(dict(arrays), dict(facts))


def _write(folder: Path, arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    import numpy as np

    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", arrays[name], allow_pickle=False)
    (folder / _FACTS).write_text(json.dumps(facts), "utf-8")


def _load(folder: Path) -> tuple[SampleStore, dict[str, Any]]:
    import numpy as np

    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text("utf-8"))
    return _store(arrays, facts), facts


def _store(arrays: dict[str, Any], facts: dict[str, Any]) -> SampleStore:
    return SampleStore(arrays, facts["names"], facts["fingerprint"])
