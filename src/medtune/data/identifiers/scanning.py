"""Looks for identifiers in a file of rows, and writes it masked, or without the rows that hold some."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from medtune.data.identifiers.counts import IdentifierCounts, shown_column
from medtune.data.identifiers.row_values import FoundInRow, find_in_row, masked_row
from medtune.data.rows import Row, read_rows
from medtune.data.sources.names import is_plain
from medtune.errors import DataError, SpecError, StorageError
from medtune.machine.owner_only import refuse_in_run, staged_text

__all__ = ["ScanReport", "scan_file"]

Policy = Literal["count", "mask", "drop"]
_MOST_PLACES = 1000
"""Rows whose places are told one by one."""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What was found in a file; never the text.

    Attributes:
        rows: read.
        rows_found: those that hold an identifier.
        unreadable: rows that could not be read, and were not looked at.
        written: rows in the new file; None where none was asked for.
        kinds: kind -> how often.
        sources: source -> column -> kind -> how often.
        places: of the first rows that hold some: row id, column, kind, first and last character.
        more_places: rows beyond those.
    """

    rows: int
    rows_found: int
    unreadable: int
    written: int | None
    kinds: Mapping[str, int]
    sources: Mapping[str, Mapping[str, Mapping[str, int]]]
    places: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    more_places: int = 0


def scan_file(source: str, policy: Policy = "count", target: Path | None = None) -> ScanReport:
    """Look for identifiers in every text of every row.

    Args:
        source: file, folder or glob, as ``data.source``.
        policy: "count" looks only; "mask" writes each row with marks in the place of identifiers, "drop" only rows without any.
        target: where "mask" and "drop" write, as JSON Lines, readable by its owner only; it appears when all is written.

    Raises:
        DataError: there is no such file, or no row in it.
        SpecError: the target is the source, or a folder.
        StorageError: a file cannot be read or written.
    """
    counts, tally = IdentifierCounts(), _Tally()
    counts.policy = policy
    if target is None:
        for row, _line in _rows(source, tally):
            tally.note(row, counts, find_in_row(row.values))
    else:
        with _written(Path(source), target) as file:
            for row, line in _rows(source, tally):
                values, found = masked_row(row.values) if policy == "mask" else (row.values, find_in_row(row.values))
                tally.note(row, counts, found)
                if policy == "mask" or not found:
                    file.write((_json(values) if found else line) + "\n")
                    tally.written += 1
    if not counts.rows:
        raise DataError(f"there is no row in '{source}' that can be read; check the path")
    found_all = counts.to_json()
    return ScanReport(
        rows=counts.rows,
        rows_found=counts.rows_found,
        unreadable=tally.unreadable,
        written=None if target is None else tally.written,
        kinds=found_all["kinds"],
        sources=found_all["sources"],
        places=tally.places,
        more_places=tally.more,
    )


class _Tally:
    def __init__(self) -> None:
        self.unreadable = self.written = self.more = 0
        self.places: list[dict[str, Any]] = []

    def note(self, row: Row, counts: IdentifierCounts, found: Sequence[FoundInRow]) -> None:
        source = row.values.get("source")
        shown = [FoundInRow(shown_column(each.column), each.findings) for each in found]
        counts.note(source if isinstance(source, str) and is_plain(source) else "", shown)
        if not found:
            return
        if len(self.places) >= _MOST_PLACES:
            self.more += 1
            return
        for each in shown:
            kinds = Counter(finding.kind.value for finding in each.findings)
            spans = [[finding.kind.value, finding.start, finding.end] for finding in each.findings]
            self.places.append(
                {"row_id": row.row_id, "place": row.place, "column": each.column, "kinds": dict(kinds), "spans": spans}
            )


def _rows(source: str, tally: _Tally) -> Iterator[tuple[Row, str]]:
    """Yield the rows that can be written as JSON in UTF-8, as such: no half of a character, no number that is not finite."""
    for row in read_rows(source):
        try:
            line = "" if row.fault else _json(row.values)
            line.encode()
        except ValueError:  # UnicodeEncodeError is one
            line = ""
        if line:
            yield row, line
        else:
            tally.unreadable += 1


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, default=str, allow_nan=False)


@contextmanager
def _written(source: Path, target: Path) -> Iterator[TextIO]:
    """Open a file that takes the target's place when all is written."""
    refuse_in_run(target)
    if target.is_dir():
        raise SpecError(f"'{target}' is a folder; name a file such as rows.jsonl")
    if target.exists() and source.exists() and (target.samefile(source) or source.is_dir()):
        raise SpecError(f"'{target}' would be written over while it is read; choose another file")
    try:
        with staged_text(target) as file:
            yield file
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error.strerror}") from error
