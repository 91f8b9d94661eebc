"""From rows to examples: every source with its formatter, name and weight, those to train on and those held out."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Literal

from medtune.data.formatting import format_rows
from medtune.data.identifiers.policy import apply_policy
from medtune.data.lengths import MOST_NAMED
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row, data_fingerprint, read_rows
from medtune.data.sources.paths import files_left_out, is_file_name, is_local, local_files
from medtune.data.sources.reading import Reading, SourceNotes
from medtune.data.splits import HoldOut, SmallSources, document_of, repeated
from medtune.data.system_turns import SystemTurns
from medtune.data.validation_place import leave_to, validation_place
from medtune.errors import DataError
from medtune.plugins.contracts import Example
from medtune.plugins.host import PluginHost
from medtune.specs import DataSpec, SourceSpec

__all__ = [
    "Part",
    "Rows",
    "files_told",
    "read_examples",
    "training_examples",
    "training_fingerprint",
    "training_rows",
    "validation_fingerprint",
    "validation_pool",
]

Rows = Iterable[Mapping[str, Any]]
Part = Literal["all", "learned", "held out"] | Collection[str]
"""Which of the training rows: every one once, those that are not held out (by weight), or the others (once).

Ids in place of a name are those that ``validation_pool`` spared: "learned", without finding them out in a pass of its own.
"""


def training_examples(
    spec: DataSpec, host: PluginHost, quarantine: Quarantine, seed: int, *, rows: Rows | None = None, part: Part = "all"
) -> Iterator[Example]:
    """Yield the examples of ``spec.source`` and ``spec.mix``, or of the rows given in their place.

    Rows are held out before they are weighted: no copy of a held-out row is trained on.

    Args:
        spec: sources, their weights, the share held out, and the sources to include or exclude.
        host: finds formatters.
        quarantine: counts and keeps the malformed rows.
        seed: of the hold-out and of fractional weights.
        rows: instead of ``spec.source``.
        part: which rows; "all" does not hold out.

    Raises:
        DataError: no formatter fits, there is no row at all, too many are malformed, too much of their text is unread, or
            ``spec`` includes or excludes a source that no row has.
    """
    if part == "held out":
        yield from _held_out(spec, host, quarantine, seed, rows)
        return
    spared = set[str]() if isinstance(part, str) else part
    if part == "learned" and _holds_out(spec, rows):
        spared = set[str]()
        for _example in _held_out(spec, host, Quarantine(None, 1.0), seed, rows, spared):
            pass
    hold_out = HoldOut(spec.validation_fraction if part != "all" and _holds_out(spec, rows) else 0.0, seed)
    for member, examples in _members(spec, host, quarantine, rows):
        learned: Iterator[Example] = (
            e for e in examples if not hold_out.takes(e.source, document_of(e)) and e.row_id not in spared
        )
        if part != "all" and member.weight != 1:
            learned = repeated(learned, member.weight, seed)
        yield from learned


def training_rows(spec: DataSpec, rows: Rows | None = None) -> Iterator[Row]:
    """Return the rows of ``spec.source``, or those given in their place; ``spec.mix`` is left out."""
    return _member_rows(spec, spec, rows, SourceNotes())


def validation_pool(
    spec: DataSpec,
    host: PluginHost,
    quarantine: Quarantine,
    seed: int,
    *,
    rows: Rows | None = None,
    spared: set[str] | None = None,
) -> Iterator[Example]:
    """Yield the examples to draw the validation set from: those of ``spec.validation``, else the held-out ones.

    Args:
        spec: as for ``training_examples``.
        host: finds formatters.
        quarantine: counts and keeps the malformed rows.
        seed: of the hold-out.
        rows: training rows instead of ``spec.source``; then ``spec.validation``, which belongs to it, is not read.
        spared: takes the ids of rows that are held out because the draws take none of their source.

    Raises:
        DataError: as for ``training_examples``; or the source has no such split.
    """
    if _holds_out(spec, rows):
        if spec.validation_fraction:
            yield from _held_out(spec, host, quarantine, seed, rows, spared)
        return
    place, notes = validation_place(spec), SourceNotes()
    where = {key: getattr(place, key) for key in ("source", "revision", "subset", "split", "field")}
    member = spec.model_copy_with(**where, exclude_sources=spec.excluded)  # "public" is of another place
    read = read_rows(
        place.source, revision=place.revision, subset=place.subset, split=place.split, reading=_reading(member, notes)
    )
    leave_to(spec, spec, notes)
    name = (spec.name or _label(spec.source)) if spec.mix or spec.name else ""
    kept = apply_policy(read, spec, member, quarantine.account)
    examples = format_rows(kept, member, host, quarantine, notes, name)
    examples = _named(examples, name) if name else examples
    yield from SystemTurns(spec.system).put(_Selection(spec).of(examples))
    _check(quarantine)


def read_examples(rows: Iterable[Row], spec: DataSpec, host: PluginHost, quarantine: Quarantine) -> Iterator[Example]:
    """Format rows with ``spec.formatter``; malformed ones go to the quarantine with their place and the reason.

    Args:
        rows: as read.
        spec: formatter, and the sources to include or exclude.
        host: finds the formatter; "auto" chooses by the columns of many rows.
        quarantine: counts and keeps the malformed rows.

    Raises:
        DataError: no formatter fits, there is no row at all, or too many are malformed.
    """
    yield from SystemTurns(spec.system).put(
        _Selection(spec).of(format_rows(rows, spec, host, quarantine, SourceNotes()))
    )
    _check(quarantine)


def training_fingerprint(spec: DataSpec) -> str | None:
    """Return what the training rows depend on; None when they may change unnoticed."""
    parts: list[str] = []
    for member in (spec, *spec.mix):
        found = data_fingerprint(member.source, revision=member.revision, subset=member.subset, split=member.split)
        if found is None:
            return None
        parts.append(f"{_label(member.source) if spec.mix else ''}={found}")
    return " ".join(parts)


def validation_fingerprint(spec: DataSpec) -> str | None:
    """Return what the validation rows depend on: "" for held-out rows; None when they may change unnoticed."""
    if spec.validation is None:
        return ""
    place = validation_place(spec)
    found = data_fingerprint(place.source, revision=place.revision, subset=place.subset, split=place.split)
    return found and f"{found} {place.field}"


def files_told(spec: DataSpec) -> list[list[Any]]:
    """Return what an account says of files: of each local source its name, the files that are read, and those left out."""
    members = [spec, *spec.mix, *([] if spec.validation is None else [validation_place(spec)])]
    return [
        [m.source, m.split, [file.name for file in local_files(m.source, m.split)], files_left_out(m.source, m.split)]
        for m in members
        if is_local(m.source)
    ]


def _held_out(
    spec: DataSpec,
    host: PluginHost,
    quarantine: Quarantine,
    seed: int,
    rows: Rows | None,
    spared: set[str] | None = None,
) -> Iterator[Example]:
    """Yield the rows that the draws hold out, then one row or document of each source of which they took none."""
    hold_out = HoldOut(spec.validation_fraction if _holds_out(spec, rows) else 0.0, seed)
    small = SmallSources(seed)
    for _member, examples in _members(spec, host, quarantine, rows):
        for example in examples:
            held_out = hold_out.takes(example.source, document_of(example))
            small.note(example, held_out=held_out)
            if held_out:
                yield example
    left = small.examples() if hold_out.takes_any else []
    if spared is not None:
        spared.update(example.row_id for example in left)
    yield from left


def _members(
    spec: DataSpec, host: PluginHost, quarantine: Quarantine, rows: Rows | None
) -> Iterator[tuple[SourceSpec, Iterator[Example]]]:
    """Yield each source with its examples, named and selected; whoever takes one reads them all before the next."""
    selection, given = _Selection(spec), SystemTurns(spec.system)
    for number, member in enumerate((spec, *spec.mix)):
        own, notes = rows if number == 0 else None, SourceNotes()
        name = (member.name or (_label(member.source) if own is None else "rows")) if spec.mix or member.name else ""
        read = apply_policy(_member_rows(spec, member, own, notes), spec, member, quarantine.account)
        examples = format_rows(read, member, host, quarantine, notes, name)
        if name:
            examples = _named(examples, name, prefix=f"mix{number}/" if number else "")
        yield member, given.put(selection.of(examples))
    _check(quarantine)
    selection.check()
    given.require_used()


def _check(quarantine: Quarantine) -> None:
    quarantine.check()
    if quarantine.account is not None:
        quarantine.account.check()


def _member_rows(spec: DataSpec, member: SourceSpec, rows: Rows | None, notes: SourceNotes) -> Iterator[Row]:
    reading = _reading(member, notes)
    if rows is not None:
        return read_rows(rows, reading=reading)
    read = read_rows(
        member.source,
        revision=member.revision,
        subset=member.subset,
        split=member.split,
        streaming=spec.streaming,
        reading=reading,
    )
    if member is spec and spec.validation is not None:
        leave_to(spec, validation_place(spec), notes)
    return read


def _reading(member: SourceSpec, notes: SourceNotes) -> Reading:
    return Reading(member.field, member.delimiter, member.encoding, notes)


def _holds_out(spec: DataSpec, rows: Rows | None) -> bool:
    return spec.validation is None or rows is not None


class _Selection:
    """The sources that are included, and those that are not excluded; takes down which names some row has."""

    def __init__(self, spec: DataSpec) -> None:
        self._included, self._excluded = frozenset(spec.include_sources), frozenset(spec.excluded)
        self._seen: Counter[str] = Counter()

    def of(self, examples: Iterator[Example]) -> Iterator[Example]:
        """Return the wanted examples."""
        return self._wanted(examples) if self._included or self._excluded else examples

    def _wanted(self, examples: Iterator[Example]) -> Iterator[Example]:
        for e in examples:
            self._seen[e.source] += 1
            if (not self._included or e.source in self._included) and e.source not in self._excluded:
                yield e

    def check(self) -> None:
        """Raise DataError for a name that no row has: terms of use may hang on it."""
        for setting, names in (("include_sources", self._included), ("exclude_sources", self._excluded)):
            unmatched = sorted(names - self._seen.keys())
            if unmatched:
                raise DataError(
                    f"data.{setting} names {', '.join(map(repr, unmatched))}, which no row has as its source; "
                    f"{self._listed()}"
                )

    def _listed(self) -> str:
        there = sorted(name for name in self._seen if name)
        if len(there) > MOST_NAMED:
            return f"there are {len(there)} sources"
        return f"the sources are {', '.join(map(repr, there))}" if there else "no row names a source"


def _named(examples: Iterable[Example], name: str, prefix: str = "") -> Iterator[Example]:
    """Give rows without a source this one, and ids that no other member of a mix has."""
    for e in examples:
        yield Example(e.messages, e.source or name, e.task, f"{prefix}{e.row_id}", e.document)


def _label(source: str) -> str:
    """Return a source's name without folders and endings; of a glob, the folder's."""
    path = PurePath(source)
    if any(c in path.name for c in "*?["):
        path = path.parent
    return path.name.partition(".")[0] if is_file_name(source) else path.name
