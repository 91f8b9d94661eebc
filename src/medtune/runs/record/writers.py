"""Marks that a process is writing into a run folder: what it may write, and which sealed folders it is about to put there.

A mark is made before the first write and goes when the record says what was written. One that stays, and whose lock is
free, is of a process that was killed.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from medtune.runs.durable import attempt
from medtune.runs.log import RunLog
from medtune.runs.record.tree import regular_bytes
from medtune.specs.bounded import json_value

__all__ = ["EVERYTHING", "EXCEPT", "Mark", "Writer", "forget", "marks_in", "writers_in"]

EVERYTHING = "*"
"""A scope that holds every file."""
EXCEPT = "/"
"""Before a file, or a folder with "/" behind it, that a scope does not hold; no name in a run folder begins so."""
_PREFIX = ".writing-"
_MARK = re.compile(r"\.writing-[0-9a-f]+\.jsonl")
_PROMISED = re.compile(r"adapter|checkpoints/step-\d+")


@dataclass(frozen=True, slots=True)
class Writer:
    """What a mark says.

    Attributes:
        token: of the mark.
        command: that writes.
        scope: names that it may write: a file, a folder with "/" behind it, EVERYTHING, or after EXCEPT what it may not.
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
        left_out = [one.removeprefix(EXCEPT) for one in self.scope if one.startswith(EXCEPT)]
        return any(_covers(one, name) for one in self.scope) and not any(_covers(one, name) for one in left_out)

    def may_promise(self, folder: str) -> bool:
        """Whether it may put that sealed folder there: adapter or checkpoint, or as an export what it was asked for."""
        is_own = _PROMISED.fullmatch(folder) is not None or self.command == "export"
        return is_own and self.may_write(f"{folder}/")


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
    return marks_in(folder)[0]


def marks_in(folder: Path) -> tuple[list[Writer], dict[str, str]]:
    """Return what the marks in a folder say, and by name what is wrong with marks that no command left so."""
    found, wrong = list[Writer](), dict[str, str]()
    for path in sorted(each for each in folder.glob(f"{_PREFIX}*.jsonl") if _MARK.fullmatch(each.name)):
        try:
            lines = regular_bytes(path).split(b"\n")[:-1]  # what follows the last newline was cut short
            said = [json_value(line.decode()) for line in lines]
            if said:
                found.append(_writer(folder, path.stem.removeprefix(_PREFIX), said))
        except FileNotFoundError:  # its command is done by now
            continue
        except OSError as error:
            wrong[path.name] = f"a mark that cannot be read ({error.strerror})"
        except (ValueError, KeyError, TypeError):
            wrong[path.name] = "a mark without the form of one"
    return found, wrong


def _writer(folder: Path, token: str, said: Sequence[Mapping[str, Any]]) -> Writer:
    """Return what the lines of a mark say; ValueError, KeyError or TypeError where that is nothing."""
    command, scope = said[0]["command"], said[0]["scope"]
    promises = [(line["folder"], line["manifest"]) for line in said[1:]]
    texts = [command, *scope, *(text for promise in promises for text in promise)]
    if not isinstance(scope, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError
    promised: dict[str, list[str]] = {}
    for name, manifest in promises:
        promised.setdefault(name, []).append(manifest)
    return Writer(token, command, scope, promised, _is_held(folder, token))


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
