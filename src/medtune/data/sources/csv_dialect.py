"""Finds out how a CSV file is written: what separates its fields, and how quotes stand in them."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Dialect", "find_dialect"]

_DELIMITERS = ",;\t|"
_RECORDS = 200
"""Records that are looked at."""
_QUOTED_AFTER_SPACE = re.compile(r' +".*"\s*', re.DOTALL)
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}


class Dialect(NamedTuple):
    """How fields are written.

    Attributes:
        delimiter: between fields.
        spaced: whether spaces after a delimiter belong to no field.
        escaped: whether a quote inside a field is written with a backslash before it.
    """

    delimiter: str = ","
    spaced: bool = False
    escaped: bool = False

    def records(self, lines: Any) -> Any:
        """Return the ``csv.reader`` of this dialect; quotes are read strictly."""
        escape = "\\" if self.escaped else None
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.spaced, escapechar=escape, strict=True)

    def words(self) -> Iterator[str]:
        """Yield what is unlike a plain CSV file."""
        if self.delimiter != ",":
            yield f"fields separated by {_NAMES.get(self.delimiter, repr(self.delimiter))}"
        if self.spaced:
            yield "spaces after delimiters skipped"
        if self.escaped:
            yield "quotes escaped by backslashes"


class _Trial(NamedTuple):
    """What a dialect makes of the beginning of a file."""

    header: list[str]
    whole: bool
    quoted_after_space: bool

    @property
    def fits(self) -> bool:
        return self.whole and len(self.header) > 1


def find_dialect(head: str, delimiter: str = "", *, cut: bool = False) -> Dialect:
    """Return the dialect in which the records at the beginning of a file all have as many fields as its header.

    Commas come first: another delimiter is taken only where commas separate nothing, or not evenly.

    Args:
        head: whole lines from the beginning of the file.
        delimiter: the one that the user named; empty finds it out.
        cut: whether the file goes on, so that the last record may not be whole.
    """
    plain = [Dialect(d) for d in (delimiter or _DELIMITERS)]
    spaced = [d._replace(spaced=True) for d in plain]
    escaped = [d._replace(escaped=True) for d in (*plain, *spaced)] if '\\"' in head else []
    for dialect in (*plain, *spaced, *escaped):
        trial = _try(head, dialect, cut)
        if trial.fits:
            indented = all(name.startswith(" ") for name in trial.header[1:])
            return dialect._replace(spaced=dialect.spaced or indented or trial.quoted_after_space)
    return plain[0]


def _try(head: str, dialect: Dialect, cut: bool) -> _Trial:
    lines = head.count("\n")
    records = dialect.records(io.StringIO(head, newline=""))
    header: list[str] = []
    quoted = False
    try:
        for number, fields in enumerate(records):
            if number == 0:
                header = fields
            elif fields and len(fields) != len(header):
                return _Trial(header, whole=False, quoted_after_space=quoted)
            quoted = quoted or any(_QUOTED_AFTER_SPACE.fullmatch(field) for field in fields if field[:1] == " ")
            if number == _RECORDS:
                break
    except csv.Error:
        return _Trial(header, whole=cut and records.line_num >= lines, quoted_after_space=quoted)
    return _Trial(header, whole=True, quoted_after_space=quoted)
