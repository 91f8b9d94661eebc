"""What reads a kind of file that medtune does not read itself."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

__all__ = ["Reader"]


@runtime_checkable
class Reader(Protocol):
    """Reads the rows of one kind of file, wherever ``data.source`` names such a file or a folder of them.

    ``suffixes`` are lower-case endings such as ".hl7", none that medtune reads itself.
    """

    name: str
    suffixes: Collection[str]

    def rows(self, path: Path) -> Iterable[Mapping[str, Any]]:
        """Yield the rows of a file in order, column -> value, the same ones each time; nothing is kept of them."""
        ...
