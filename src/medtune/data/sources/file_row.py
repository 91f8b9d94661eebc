"""What the readers of files yield: a row with its number, or what is wrong with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["FileRow"]


class FileRow(NamedTuple):
    """One row of a file.

    Attributes:
        number: from 1: its line, its element of a JSON array, or its row of a Parquet or Arrow file.
        values: column -> value; empty for a faulty row.
        fault: why it could not be read, without its content; empty for a good row.
    """

    number: int
    values: Mapping[str, Any]
    fault: str = ""
