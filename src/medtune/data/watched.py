"""A row that takes down which of its columns are looked at: what a formatter of others reads is not known otherwise."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Watched"]


class Watched(dict[str, Any]):
    """A row that takes down which of its columns a formatter looks at."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, column: str) -> Any:
        self.read.add(column)
        return super().__getitem__(column)

    def get(self, column: str, default: Any = None) -> Any:
        """Return a column's value."""
        self.read.add(column)
        return super().get(column, default)

    def pop(self, column: str, *default: Any) -> Any:
        """Take a column out."""
        self.read.add(column)
        return super().pop(column, *default)

    def values(self) -> Any:
        """Return all values."""
        self.read.update(super().keys())
        return super().values()

    def items(self) -> Any:
        """Return all columns with their values."""
        self.read.update(super().keys())
        return super().items()

    def __iter__(self) -> Iterator[str]:  # makes ``dict(row)`` and ``**row`` ask for each value
        return super().__iter__()
