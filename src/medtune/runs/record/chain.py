"""The lines of a run's record: each names the one before by its hash, what a command changed, and the root after it."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medtune.errors import DamagedArtifactError, WriteFailedError
from medtune.machine.owner_only import hide_file, open_descriptor
from medtune.runs.durable import attempt, sync_directory
from medtune.runs.record.tree import LOG, RECORD, Entry, begins_with, canonical, regular_bytes, root_of
from medtune.specs.bounded import BoundsError

__all__ = ["Chain", "Change", "Line", "append", "read_chain"]

_FORMAT = 1
_KEYS = {
    "changed",
    "command",
    "digest",
    "facts",
    "format",
    "number",
    "previous",
    "removed",
    "root",
    "run_id",
    "time",
    "unproven",
    "writer",
}
_APPEND_LOCK = ".record.lock"
_APPEND_WAIT = 60.0  # seconds that another writer may take to append its line


@dataclass(frozen=True, slots=True)
class Change:
    """What a command did to the folder.

    Attributes:
        command: its name.
        changed: name of a file -> what it is now.
        removed: names of files that are gone.
        facts: name -> JSON value: hashes of what the run was made with.
        writer: mark of the process that wrote.
        unproven: files among ``changed`` and ``removed`` that were found so after a command was cut short: nobody saw it.
    """

    command: str
    changed: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    removed: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    writer: str = ""
    unproven: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be recorded."""
        return not (self.changed or self.removed or self.facts)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a record: a change with its place in the chain.

    Attributes:
        number: of the line, from 0.
        change: what was changed.
        root: over all files and facts after it.
        digest: SHA-256 of the line, which it states itself, and which the next one names.
    """

    number: int
    change: Change
    root: str
    digest: str


@dataclass(slots=True)
class Chain:
    """A record that was read: its lines, and the folder as they leave it.

    Attributes:
        run_id: of the run.
        lines: in order.
        files: name -> what it is after the last line.
        facts: name -> value, likewise.
        unproven: name -> number of the line that took in unseen that it was changed or gone, of those that no later line has.
        torn: bytes behind the last whole line.
    """

    run_id: str
    lines: list[Line] = field(default_factory=list[Line])
    files: dict[str, Entry] = field(default_factory=dict[str, Entry])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    unproven: dict[str, int] = field(default_factory=dict[str, int])
    torn: int = 0

    @property
    def head(self) -> str:
        """Hash of the last line; of a record without one, what its first line must name."""
        return (
            self.lines[-1].digest if self.lines else hashlib.sha256(f"medtune run {self.run_id}".encode()).hexdigest()
        )

    @property
    def root(self) -> str:
        """Root over files and facts."""
        return root_of(self.files, self.facts)

    def take(self, change: Change) -> None:
        """Change files and facts as a line says."""
        for name in change.removed:
            self.files.pop(name, None)
        for name in (*change.removed, *change.changed):
            self.unproven.pop(name, None)
        self.files.update(change.changed)
        self.facts.update(change.facts)
        self.unproven.update(dict.fromkeys(change.unproven, len(self.lines)))


def read_chain(folder: Path) -> Chain | None:
    """Return the record of a run folder, None where it keeps none.

    Raises:
        DamagedArtifactError: naming the first line that is not what was appended.
    """
    try:
        content = regular_bytes(folder / RECORD)
    except FileNotFoundError:
        return None
    except BoundsError as error:
        raise DamagedArtifactError(str(folder), RECORD, str(error)) from None
    except OSError as error:
        raise DamagedArtifactError(str(folder), RECORD, f"cannot be read ({error.strerror})") from error
    *lines, torn = content.split(b"\n")
    chain: Chain | None = None
    for number, line in enumerate(lines):
        try:
            values = json.loads(line)
            chain = Chain(str(values["run_id"])) if chain is None else chain
            _take_line(chain, values, line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            reason = f"was changed in line {number + 1}: it does not continue the lines before it"
            raise DamagedArtifactError(str(folder), RECORD, reason) from None
    if chain is None:
        raise DamagedArtifactError(str(folder), RECORD, "has no whole line")
    chain.torn = len(torn)
    return chain


def append(folder: Path, run_id: str, change: Change) -> Line | None:
    """Append a line and sync it; what the record says already is left out, and without anything else there is no line.

    Raises:
        DamagedArtifactError: the record is not what was appended so far.
        WriteFailedError: the system refused the write, or a name leads out of the folder.
    """
    outside = [name for name in (*change.changed, *change.removed) if name.startswith("/") or ".." in name.split("/")]
    if outside:
        raise WriteFailedError("the record", str(folder), f"'{outside[0]}' lies outside of the run folder")
    attempt(lambda: hide_file(folder / _APPEND_LOCK), "the record", folder)  # the owner's, whoever writes
    lock = FileLock(folder / _APPEND_LOCK, timeout=_APPEND_WAIT, mode=0o600)
    try:
        attempt(lock.acquire, "the record", folder)
    except Timeout:
        raise WriteFailedError("the record", str(folder), "another process is writing to it") from None
    try:
        chain = read_chain(folder) if _has_lines(folder / RECORD) else None
        chain = chain or Chain(run_id)
        news = _news(chain, change)
        if news.is_empty:
            return None
        if LOG in news.changed and LOG in chain.unproven and begins_with(folder / LOG, chain.files[LOG]):
            news = replace(news, unproven=sorted({*news.unproven, LOG}))  # lines that nobody saw still stand in it
        chain.take(news)
        values = _values(chain, news)
        values["digest"] = _digest(values)
        line = canonical(values) + b"\n"
        attempt(lambda: _append_once(folder / RECORD, line), "the record", folder / RECORD)
        return Line(values["number"], news, values["root"], values["digest"])
    finally:
        lock.release()


def _news(chain: Chain, change: Change) -> Change:
    changed = {name: entry for name, entry in change.changed.items() if chain.files.get(name) != entry}
    removed = sorted(name for name in change.removed if name in chain.files and name not in changed)
    return Change(
        change.command,
        changed,
        removed,
        {name: value for name, value in change.facts.items() if chain.facts.get(name) != value},
        change.writer,
        sorted(name for name in change.unproven if name in changed or name in removed),
    )


def _values(chain: Chain, change: Change) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "run_id": chain.run_id,
        "number": len(chain.lines),
        "previous": chain.head,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": change.command,
        "writer": change.writer,
        "changed": {name: [entry.bytes, entry.sha256] for name, entry in change.changed.items()},
        "removed": list(change.removed),
        "unproven": list(change.unproven),
        "facts": dict(change.facts),
        "root": chain.root,
    }


def _take_line(chain: Chain, values: Mapping[str, Any], line: bytes) -> None:
    """Add a line that continues the chain; ValueError where it does not."""
    changed = {str(name): Entry(int(size), str(digest)) for name, (size, digest) in values["changed"].items()}
    change = Change(
        str(values["command"]),
        changed,
        list(values["removed"]),
        dict(values["facts"]),
        str(values["writer"]),
        list(values["unproven"]),
    )
    is_next = values["number"] == len(chain.lines) and values["previous"] == chain.head
    is_own = values["format"] == _FORMAT and values["run_id"] == chain.run_id and set(values) == _KEYS
    is_sealed = canonical(values) == line and values["digest"] == _digest(values)
    is_meant = chain.files.keys() >= set(change.removed) and {*changed, *change.removed} >= set(change.unproven)
    chain.take(change)
    if not (is_next and is_own and is_sealed and is_meant and chain.root == values["root"]):
        raise ValueError
    chain.lines.append(Line(values["number"], change, values["root"], values["digest"]))


def _digest(values: Mapping[str, Any]) -> str:
    """Return the hash of a line, without the one that it states, so that an edit of the last line shows as well."""
    return hashlib.sha256(canonical({key: value for key, value in values.items() if key != "digest"})).hexdigest()


def _has_lines(path: Path) -> bool:
    """Whether a record holds a whole line; the first one may have been cut short by a crash."""
    try:
        return b"\n" in regular_bytes(path)
    except FileNotFoundError:
        return False
    except BoundsError as error:
        raise DamagedArtifactError(str(path.parent), path.name, str(error)) from None


def _append_once(path: Path, line: bytes) -> None:
    """Put a line behind the last whole one; an earlier attempt, or a killed process, may have left a part."""
    is_new = not path.exists()
    descriptor = open_descriptor(path, os.O_RDWR | os.O_CREAT)
    try:
        whole = path.read_bytes().rfind(b"\n") + 1
        os.ftruncate(descriptor, whole)
        os.lseek(descriptor, whole, os.SEEK_SET)
        written = 0
        while written < len(line):
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync_directory(path.parent)
