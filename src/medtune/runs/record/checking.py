"""Holds a run folder against its record: every file, byte for byte."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError
from medtune.runs.record.chain import Chain, read_chain
from medtune.runs.record.explained import difference
from medtune.runs.record.tree import NOTES, RECORD, SIGNATURES, Entry, Files, files_of, measured, unreadable
from medtune.runs.record.writers import Writer, marks_in

_LOOKS = 3
"""Times that a folder is looked at while a command writes to it."""

__all__ = ["Problem", "RecordCheck", "check_record"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not as the record has it.

    Attributes:
        file: relative to the run folder.
        kind: "changed", "truncated", "missing", "added", "renamed", "swapped", or of signatures "unsigned", "forged", "older".
        detail: how, in words.
    """

    file: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"'{self.file}' {self.detail}"


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """What came out.

    Attributes:
        chain: the record; None where there is none, or it cannot be read.
        problems: files that differ.
        newer: files that a command wrote, or may have written, since the last line.
        writing: that command, empty without one.
        is_alive: whether it still runs.
        entries: name -> what the files are now, as far as they were hashed.
        unchecked: what cannot be said, in sentences.
    """

    chain: Chain | None = None
    problems: Sequence[Problem] = ()
    newer: Sequence[str] = ()
    writing: str = ""
    is_alive: bool = False
    entries: Mapping[str, Entry] = field(default_factory=dict[str, Entry])
    unchecked: Sequence[str] = ()

    def to_json(self) -> dict[str, Any] | None:
        """Return what ``verify --json`` says of the record."""
        if self.chain is None:
            return None
        return {
            "run_id": self.chain.run_id,
            "lines": len(self.chain.lines),
            "head": self.chain.head,
            "root": self.chain.root,
            "files": len(self.chain.files),
            "newer": list(self.newer),
            "writing": self.writing,
            "unproven": {name: self.chain.unproven[name] + 1 for name in sorted(self.chain.unproven)},
            "last": {"command": self.chain.lines[-1].change.command} if self.chain.lines else {},
        }


def check_record(folder: Path, run: Mapping[str, Any]) -> RecordCheck:
    """Hash every file of a run folder and hold it against the record; writes nothing.

    Args:
        folder: the run folder.
        run: content of its ``run.json``.
    """
    for _ in range(_LOOKS - 1):
        before = _moves(folder)
        found = _look(folder, run)
        if not found.problems or _moves(folder) == before:
            return found
    return _look(folder, run)


def _moves(folder: Path) -> tuple[int, object]:
    """Return what differs when a command writes meanwhile: a checkpoint that came between two looks is no foreign one."""
    try:
        return (folder / RECORD).stat().st_size, marks_in(folder)
    except OSError:
        return 0, None


def _look(folder: Path, run: Mapping[str, Any]) -> RecordCheck:
    marks, wrong = marks_in(folder)
    try:
        chain = read_chain(folder)
    except DamagedArtifactError as error:
        return RecordCheck(problems=[Problem(RECORD, "changed", error.reason)])
    if chain is None:
        return _without(folder, run)
    listed = files_of(folder)
    found = _Found(folder, measured(folder, listed.regular))
    unread = unreadable(folder, listed.regular.keys() - found.entries.keys())
    files = Files(found.of(listed.regular), {**wrong, **unread, **listed.odd})
    since = difference(folder, chain, marks, files, found.of)
    expected = {name: entry for name, entry in (chain.files | since.changed).items() if name not in since.removed}
    problems = _chain_problems(chain, run, marks) + _odd(files)
    notes = sorted(name for name in found.entries.keys() - expected.keys() if name.startswith(NOTES))
    problems += _differences(expected, found.of(found.entries.keys() - set(notes)), chain)
    newer = sorted(since.changed.keys() | since.removed)
    writer = _writer(marks, newer, torn=chain.torn > 0)
    return RecordCheck(
        chain,
        problems,
        newer,
        writer.command if writer else "",
        writer is not None and writer.is_alive,
        found.entries,
        [*([_unproven(chain)] if chain.unproven else []), *([_unsigned(notes)] if notes else [])],
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The files of a folder, hashed once."""

    folder: Path
    entries: Mapping[str, Entry]

    def of(self, names: Iterable[str]) -> dict[str, Entry]:
        return {name: self.entries[name] for name in names if name in self.entries}


def _without(folder: Path, run: Mapping[str, Any]) -> RecordCheck:
    """Return what is said of a run without a record: one that must have it has lost it."""
    if "record" in run or (folder / SIGNATURES).exists():
        return RecordCheck(problems=[Problem(RECORD, "missing", "is missing: the run kept a record")])
    sentence = "an earlier medtune made this run, which kept no record: only adapter and checkpoints are checked"
    return RecordCheck(unchecked=[sentence])


def _chain_problems(chain: Chain, run: Mapping[str, Any], marks: Sequence[Writer]) -> list[Problem]:
    found = list[Problem]()
    named = run.get("run_id", chain.run_id if marks else None)  # it is written a moment after the first line
    if named != chain.run_id:
        found.append(Problem("run.json", "swapped", "belongs to another run than the record"))
    if chain.torn and not marks:
        found.append(Problem(RECORD, "truncated", "ends in the midst of a line"))
    return found


def _odd(files: Files) -> list[Problem]:
    return [Problem(name, "added", f"is {what}, which no command writes") for name, what in files.odd.items()]


def _differences(expected: Mapping[str, Entry], found: Mapping[str, Entry], chain: Chain) -> list[Problem]:
    """Name each file that is not as expected, and how; a file that moved is named once."""
    missing, added = expected.keys() - found.keys(), found.keys() - expected.keys()
    places: dict[Entry, list[str]] = {}
    for name in sorted(added):
        places.setdefault(found[name], []).append(name)
    problems, moved = list[Problem](), set[str]()
    for name in sorted(missing):
        there = places.get(expected[name], [])
        if there:
            moved.add(there[0])
            problems.append(Problem(name, "renamed", f"lies under another name: '{there.pop(0)}'"))
        else:
            problems.append(Problem(name, "missing", "is missing"))
    problems += [Problem(name, "added", "is not in the record") for name in sorted(added - moved)]
    owners: dict[Entry, str] = {entry: name for name, entry in chain.files.items()}
    for name in sorted(expected.keys() & found.keys()):
        if found[name] != expected[name]:
            problems.append(_changed(name, expected[name], found[name], owners))
    return problems


def _changed(name: str, was: Entry, now: Entry, owners: Mapping[Entry, str]) -> Problem:
    other = owners.get(now)
    if other is not None and other != name:
        return Problem(name, "swapped", f"holds what the record has of '{other}'")
    if now.bytes < was.bytes:
        return Problem(name, "truncated", f"has {now.bytes} bytes instead of {was.bytes}")
    if now.bytes > was.bytes:
        return Problem(name, "changed", f"has {now.bytes} bytes instead of {was.bytes}")
    return Problem(name, "changed", "was changed: its SHA-256 differs")


def _writer(marks: Sequence[Writer], newer: Sequence[str], *, torn: bool) -> Writer | None:
    """Return the command that writes, or was cut short; a mark behind which nothing differs was left after its last line."""
    alive = [mark for mark in marks if mark.is_alive]
    cut_short = [mark for mark in marks if torn or any(mark.may_write(name) for name in newer)]
    return next(iter([*alive, *cut_short]), None)


def _unproven(chain: Chain) -> str:
    shown = _shown(sorted(chain.unproven))
    return f"a command was cut short before it recorded {shown}: that this is what it left was seen by nobody"


def _unsigned(notes: Sequence[str]) -> str:
    return f"nobody vouches for {_shown(notes)}, which lies beside the run until it is signed"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - as shown
