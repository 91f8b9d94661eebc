"""Marks that a process is writing into a run folder: what it may write, and which sealed folders it is about to put there.

A mark is made before the first write and goes when the record says what was written. One that stays, and whose lock is
free, is of a process that was killed.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from filelock import FileLock, Timeout

from medtune.runs.durable import attempt
from medtune.runs.log import RunLog

__all__ = ["EVERYTHING", "Mark", "Writer", "forget", "writers_in"]

EVERYTHING = "*"
"""A scope that holds every file."""
_PREFIX = ".writing-"


@dataclass(frozen=True, slots=True)
class Writer:
    """What a mark says.

    Attributes:
        token: of the mark.
        command: that writes.
        scope: names that it may write: a file, a folder with "/" behind it, or EVERYTHING.
        promised: sealed folder -> hashes of the manifests with which it may appear, in the order of the promises.
        is_alive: whether its process still holds the lock.
    """

    token: str
    command: str
    scope: Sequence[str]
    promised: Mapping[str, Sequence[str]]
    is_alive: bool

    def may_write(self, name: str) -> bool:
        """Whether a file lies in the scope, or is the staged copy of one that does."""
        return any(_covers(one, name) for one in self.scope)


class Mark:
    """The mark of this process; its lock is held until ``remove``."""

    def __init__(self, folder: Path, command: str, scope: Sequence[str]) -> None:
        self.token = uuid4().hex
        self._log = RunLog(folder / f"{_PREFIX}{self.token}.jsonl")
        self._lock = _lock(folder, self.token)
        attempt(self._lock.acquire, "the mark of a writer", folder)
        self._log.append({"command": command, "scope": list(scope)})

    def promise(self, folder: str, manifest: str) -> None:
        """Say that a sealed folder is about to appear, with that hash of its manifest."""
        self._log.append({"folder": folder, "manifest": manifest})

    def remove(self) -> None:
        """Take the mark away."""
        _remove(self._log.path, self._lock)


def writers_in(folder: Path) -> list[Writer]:
    """Return what the marks in a folder say, of killed processes too; one that says nothing yet wrote nothing."""
    found = list[Writer]()
    for path in sorted(folder.glob(f"{_PREFIX}*.jsonl")):
        said = RunLog(path).read()
        if not said or not isinstance(said[0].get("scope"), list):
            continue
        promised: dict[str, list[str]] = {}
        for line in said[1:]:
            promised.setdefault(str(line.get("folder")), []).append(str(line.get("manifest")))
        token = path.stem.removeprefix(_PREFIX)
        found.append(Writer(token, str(said[0]["command"]), said[0]["scope"], promised, _is_held(folder, token)))
    return found


def forget(folder: Path, token: str) -> None:
    """Take the mark of a killed process away, once the record says what it left."""
    _remove(folder / f"{_PREFIX}{token}.jsonl", _lock(folder, token))


def _covers(scope: str, name: str) -> bool:
    if scope in (EVERYTHING, name):
        return True
    if scope.endswith("/"):
        return name.startswith(scope) or _is_staged(scope, name)
    here, there = PurePosixPath(scope), PurePosixPath(name)
    return here.parent == there.parent and there.name.startswith(f".{here.name}.")


def _is_staged(folder: str, name: str) -> bool:
    """Whether a file lies in the hidden folder that becomes, or was, that folder: ``.staging-NAME-abcd1234`` and the like."""
    place = PurePosixPath(folder)
    above = "" if str(place.parent) == "." else f"{place.parent}/"
    hidden = name.removeprefix(above).partition("/")
    drawn = rf"\.[a-z]+-{re.escape(place.name)}(-[a-z0-9_]{{8}})?"  # earlier releases drew no name
    return name.startswith(f"{above}.") and bool(hidden[1]) and re.fullmatch(drawn, hidden[0]) is not None


def _lock(folder: Path, token: str) -> FileLock:
    return FileLock(folder / f"{_PREFIX}{token}.lock", timeout=0, mode=0o600)


def _is_held(folder: Path, token: str) -> bool:
    """Whether the process of a mark lives; where nobody can lock, as in a folder that cannot be written to, it does not."""
    if not (folder / f"{_PREFIX}{token}.lock").exists():
        return False
    lock = _lock(folder, token)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _remove(path: Path, lock: FileLock) -> None:
    for gone in (path, Path(lock.lock_file)):
        with contextlib.suppress(OSError):  # one that stays explains nothing that the record does not say
            gone.unlink()
    lock.release()
