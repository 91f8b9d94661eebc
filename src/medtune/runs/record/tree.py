"""The files of a run folder and the one hash over all of them.

The root is a Merkle root as in RFC 6962, section 2.1: leaves and inner nodes are hashed with different first bytes, so that
neither can be taken for the other.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtune.machine.owner_only import RECORD_FILE
from medtune.runs.manifest import file_digest
from medtune.specs.bounded import BoundsError, bounded_bytes

__all__ = [
    "LOG",
    "NOTES",
    "RECORD",
    "SIGNATURES",
    "Entry",
    "Files",
    "begins_with",
    "canonical",
    "files_of",
    "measured",
    "regular_bytes",
    "root_of",
    "unreadable",
]

RECORD = RECORD_FILE
"""Name of the record; it states the root, so it is no leaf."""
SIGNATURES = "signature.json"
LOG = "log.jsonl"
"""The one file that a command goes on with instead of writing it whole."""
NOTES = "notes/"
"""Folder for what a user lays beside a run: of its files ``verify`` says so until the run is signed, which takes them in."""

_VOLATILE = re.compile(
    r"\.(lock|lock-owner\.json|cancel\.json|record\.lock|writing-[0-9a-f]+\.(jsonl|lock))"
    r"|\.\.(lock-owner|cancel)\.json(\.[a-z0-9_]{8})?\.staging"  # earlier releases drew no name
)
"""Locks, requests to cancel and marks of writers, with their staged copies: they come and go with processes."""
_THREADS = 8
_UNREADABLE = "a file that cannot be read"
_LONGEST = 2**30  # bytes of a record


@dataclass(frozen=True, slots=True)
class Entry:
    """Size and SHA-256 of a file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Files:
    """What lies in a folder.

    Attributes:
        regular: name, with forward slashes -> what is known of the file.
        odd: name -> what it is instead of a file or folder: such things are never opened.
    """

    regular: Mapping[str, Any]
    odd: Mapping[str, str]

    def hides(self, name: str) -> bool:
        """Whether something odd stands where a file, or a folder above it, would."""
        return any(name == odd or name.startswith(f"{odd}/") for odd in self.odd)


def canonical(value: Any) -> bytes:
    """Return JSON values in the one form that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def files_of(folder: Path) -> Files:
    """Return all files below a folder but its record and what comes and goes with processes; links are not followed."""
    regular, odd = dict[str, os.stat_result](), dict[str, str]()
    waiting = [("", folder)]
    while waiting:
        above, place = waiting.pop()
        try:
            entries = _entries(place)
        except OSError:
            odd[above.removesuffix("/") or "."] = "a folder that cannot be read"
            continue
        for entry in entries:
            name = above + entry.name
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # rotated away in this moment
                continue
            except OSError:
                odd[name] = _UNREADABLE
                continue
            if stat.S_ISDIR(found.st_mode):
                waiting.append((f"{name}/", place / entry.name))
            elif not stat.S_ISREG(found.st_mode):
                odd[name] = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
            elif name != RECORD and not _VOLATILE.fullmatch(name):
                regular[name] = found
    return Files(regular, odd)


def unreadable(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return as odd, of files that could not be measured, those that are there."""
    return {name: _UNREADABLE for name in names if os.path.lexists(folder / name)}


def regular_bytes(path: Path) -> bytes:
    """Return the content of a file that medtune keeps for itself.

    Raises:
        BoundsError: a link, a pipe, a device or a folder is there.
        OSError: it cannot be read.
    """
    if path.is_symlink():
        raise BoundsError("is a link, which is not followed")
    if path.is_dir():
        raise BoundsError("is a folder")
    return bounded_bytes(path, _LONGEST)


def measured(folder: Path, names: Iterable[str]) -> dict[str, Entry]:
    """Return size and SHA-256 of files; one that is gone by now, or cannot be read, is left out."""
    wanted = list(names)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda name: _entry(folder / name), wanted)
        return {name: entry for name, entry in zip(wanted, found, strict=True) if entry is not None}


def begins_with(path: Path, entry: Entry) -> bool:
    """Whether a file begins with what an entry is of: it is that file, or one that lines were added to."""
    try:
        content = regular_bytes(path)
    except FileNotFoundError:
        content = b""
    except (OSError, BoundsError):
        return False
    return hashlib.sha256(content[: entry.bytes]).hexdigest() == entry.sha256


def root_of(files: Mapping[str, Entry], facts: Mapping[str, Any]) -> str:
    """Return the Merkle root over the facts and files of a run, each in the order of its name."""
    leaves = [canonical(["fact", name, facts[name]]) for name in sorted(facts)]
    leaves += [canonical(["file", name, files[name].bytes, files[name].sha256]) for name in sorted(files)]
    return _root([hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]).hex()


def _root(level: Sequence[bytes]) -> bytes:
    """Fold hashes pair by pair; an odd last one goes up as it is, which is RFC 6962's tree for any number of leaves."""
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


def _entries(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as found:
            return sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _entry(path: Path) -> Entry | None:
    try:
        return Entry(path.stat().st_size, file_digest(path))
    except OSError:
        return None
