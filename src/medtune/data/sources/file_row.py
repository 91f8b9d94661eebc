"""What the readers of files yield: a row with its number, or what is wrong with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["NOT_UTF8", "FileRow"]

NOT_UTF8 = "not UTF-8 text"
"""What the fault of a row says whose bytes are in another encoding."""


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
