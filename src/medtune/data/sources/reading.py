"""How files are to be read, and what was found out about them on the way."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Reading", "SourceNotes"]

_MOST_FILES, _MOST_BESIDE = 20, 50
"""Files left out that are named; paths beside the rows that are told apart: objects may have keys that are data."""


@dataclass(slots=True)
class SourceNotes:
    """What was found out while a source was read.

    Attributes:
        dialects: file -> how it was read, where that is not plain UTF-8 with commas.
        left_out: file of the folder -> why it was not read.
        labels: column -> names of the numbers in it, which the file or data set brings along.
        beside: dotted path of what lies beside the rows that ``data.field`` names -> how many rows (or lines) it holds.
        repeated_headers: file -> lines that say the column names again, as joined files have them, and are no rows.
        read_elsewhere: paths of these that the other split reads.
        not_utf8: file -> rows of it that are not UTF-8.
    """

    dialects: dict[str, list[str]] = dataclasses.field(default_factory=dict[str, list[str]])
    left_out: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    labels: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict[str, tuple[str, ...]])

    beside: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    repeated_headers: dict[str, int] = dataclasses.field(default_factory=dict[str, int])
    read_elsewhere: set[str] = dataclasses.field(default_factory=set[str])
    not_utf8: Counter[Path] = dataclasses.field(default_factory=Counter[Path])

    def say(self, file: str, how: str) -> None:
        """Note how a file is read."""
        said = self.dialects.setdefault(file, [])
        if how not in said:
            said.append(how)

    def count_header(self, file: str) -> None:
        """Count a line that repeats the header of a file."""
        self.repeated_headers[file] = self.repeated_headers.get(file, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """Return how files were read, which were not, and what lies beside the rows."""
        told = dict(list(self.left_out.items())[:_MOST_FILES])
        return {
            "read_as": self._read_as(),
            "files_left_out": told,
            "more_files_left_out": len(self.left_out) - len(told),
            "fields_left_out": dict(self.beside),
        }

    def _read_as(self) -> dict[str, list[str]]:
        """Return how each file was read, where that is not plain, with the lines that were left out of it."""
        told = {file: list(how) for file, how in self.dialects.items()}
        for file, lines in self.repeated_headers.items():
            told.setdefault(file, []).append(f"left out {lines:,} lines that repeat the header")
        return told

    def count_beside(self, path: str, rows: int = 1) -> None:
        """Count what lies beside the rows that are read."""
        if path in self.read_elsewhere:
            return
        if path in self.beside or len(self.beside) < _MOST_BESIDE:
            self.beside[path] = self.beside.get(path, 0) + rows


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are to be read.

    Attributes:
        field: dotted path to the rows inside a JSON file, or name of a workbook's sheet; empty for none.
        delimiter: of CSV files; empty finds it out.
        encoding: of text files; empty for UTF-8, or UTF-16 by its byte order mark.
        notes: takes what is found out.
    """

    field: str = ""
    delimiter: str = ""
    encoding: str = ""
    notes: SourceNotes = dataclasses.field(default_factory=SourceNotes)
