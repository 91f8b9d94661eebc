"""Rows that cannot be used: set aside with their place and the reason, never with their content."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

from medtune.data.account import Account
from medtune.data.encodings import ONE_ENCODING
from medtune.data.sources.file_row import NOT_UTF8
from medtune.errors import DataError, StorageError
from medtune.machine.owner_only import make_folder, open_text, write_text

__all__ = ["QUARANTINE_FILE", "Quarantine", "copy_quarantine"]

QUARANTINE_FILE = "quarantine.jsonl"
_ENOUGH_ROWS = 100
"""Rows after which the share of malformed ones means something."""
_SHOWN = 3
"""Places of malformed rows that an error names."""
_UNWRITTEN = 1000
"""Lines kept in memory before they are written."""


class Quarantine:
    """Counts good and malformed rows and writes the malformed ones down; a context manager.

    Args:
        path: ``quarantine.jsonl`` to write, made on the first malformed row, and removed when it is an earlier
            preparation's and there was none; None to count only.
        limit: share of malformed rows above which preparation stops.
        account: takes down what is read of the good rows, and says what rows are called; None for none.
        lasting: whether the file outlives an error, which then names it instead of the first places.
    """

    def __init__(
        self, path: Path | None, limit: float, *, account: Account | None = None, lasting: bool = True
    ) -> None:
        self._path, self.limit, self.account, self._lasting = path, limit, account, lasting
        self._name = account.name if account else ""
        self._first: list[str] = []
        self.rows = self._drawn = 0
        self.reasons: Counter[str] = Counter()
        self._revoked: Counter[str] = Counter()
        self._lines: list[str] = []
        self._mode: Literal["w", "a"] = "w"  # the first write replaces what an earlier preparation left
        self._later: list[Callable[[], None]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._write()
        if self._path and not self.count and self._path.is_file():
            self._remove(self._path)

    @property
    def count(self) -> int:
        """Malformed rows so far."""
        return self.reasons.total()

    def accept(self, rows: int = 1) -> None:
        """Count good rows."""
        if not self._is_put_off(lambda: self.accept(rows)):
            self.rows += rows

    def refuse(self, row_id: str, place: str, reason: str) -> None:
        """Set a malformed row aside.

        Args:
            row_id: the row's id, empty when it has none.
            place: file and line, or data set and row number.
            reason: what is wrong, without the row's text.

        Raises:
            DataError: already too large a share of the rows is malformed.
            StorageError: the file cannot be written.
        """
        if self._is_put_off(lambda: self.refuse(row_id, place, reason)):
            return
        self.rows += 1
        self.reasons[reason] += 1
        if len(self._first) < _SHOWN:
            self._first.append(place)
        if self._path:
            self._lines.append(json.dumps({"row_id": row_id, "place": place, "reason": reason}))
            if len(self._lines) >= _UNWRITTEN:
                self._write()
        # A set may begin with its bad rows: before its end, twice the limit and some more must be exceeded.
        if self.rows >= _ENOUGH_ROWS and self.count > 2 * self.limit * self.rows + _ENOUGH_ROWS:
            self.check()

    def draw(self, rows: int) -> None:
        """Count good rows that go on: ``data.limit`` may draw few of those that are read."""
        self._drawn += rows

    def revoke(self, row_id: str, reason: str, *, drawn: bool = True) -> None:
        """Set a row aside that was counted as good before; ``drawn`` where ``draw`` counted it too."""
        self.rows -= 1
        self._revoked[reason] += drawn
        self.refuse(row_id, row_id, reason)

    def check(self) -> None:
        """Raise DataError when more rows are malformed than the limit allows, among those read or among those drawn."""
        if self._is_put_off(self.check):
            return
        if self.account is not None:
            self.account.check_numbers()  # says more than that rows are malformed
        if self.count > self.limit * self.rows:
            self._write()
            common, times = self.reasons.most_common(1)[0]
            ways = "repair them, map their columns with data.columns, or choose another data.formatter"
            if self.count < self.rows:
                ways = "repair them, choose another data.formatter, or raise data.max_quarantined"
            if NOT_UTF8 in common:
                ways = (self.account and self.account.encodings()) or ONE_ENCODING
            else:
                ways = (self.account and self.account.ways()) or ways
            raise DataError(
                f"{self.count} of {self.rows} {self._name}rows are malformed, most often ({times} times): {common}"
                f"{self._places()}; {ways}"
            )

        if self._revoked.total() > self.limit * self._drawn:
            common, times = self._revoked.most_common(1)[0]
            raise DataError(
                f"{self._revoked.total()} of the {self._drawn} {self._name}rows that data.limit draws cannot be used, most "
                f"often ({times} times): {common}; repair them, or raise data.max_quarantined"
            )

    @contextmanager
    def put_off(self) -> Iterator[list[Callable[[], None]]]:
        """Count nothing in the block; the list that is given holds what is to be done for that, in order."""
        outer, self._later = self._later, []
        try:
            yield self._later
        finally:
            self._later = outer

    def _is_put_off(self, act: Callable[[], None]) -> bool:
        if self._later is None:
            return False
        self._later.append(act)
        return True

    def _places(self) -> str:
        """Say where the malformed rows are: the file lists them where it stays, else the first ones."""
        if self._path and self._lasting:
            return f"; their places are in {self._path}"
        return f"; the first at {', '.join(self._first)}"

    def _remove(self, path: Path) -> None:
        """Remove what an earlier preparation left: it would be read as this one's."""
        try:
            path.unlink()
        except OSError as error:
            raise StorageError(f"cannot remove '{path}': {error.strerror}") from error

    def _write(self) -> None:
        if not self._path or not self._lines:
            return
        try:
            make_folder(self._path.parent)
            with open_text(self._path, self._mode) as file:
                file.writelines(line + "\n" for line in self._lines)
        except OSError as error:
            raise StorageError(f"cannot write '{self._path}': {error.strerror}") from error
        self._lines.clear()
        self._mode = "a"


def copy_quarantine(source: Path, target: Path) -> None:
    """Copy what was set aside in an earlier preparation; without any, nothing is left at ``target``."""
    try:
        if source.is_file():
            make_folder(target.parent)
            write_text(target, source.read_text("utf-8"))
        else:
            target.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error.strerror}") from error
