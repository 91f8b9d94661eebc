"""Column names: which may be shown (a file without a header line has a row in their place), and which hold lists."""

import re
from collections.abc import Iterable

__all__ = ["LIST_COLUMNS", "is_plain", "listed"]

LIST_COLUMNS = frozenset(
    {"messages", "conversations", "options", "choices", "tokens", "ner_tags", "prompt", "completion"}
)
"""Columns of formatters in which a list is one value, not several."""

_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]{0,39}")
"""A column name as people give them. Anything else may be a row: a CSV file without a header has its first one there."""
_PLAIN_PATH = re.compile(rf"{_PLAIN_NAME.pattern}(\[\])*(\.({_PLAIN_NAME.pattern}|\*)(\[\])*)*")


def is_plain(path: str) -> bool:
    """Whether a column's name, or the path to a value in it, looks like one that people give."""
    return _PLAIN_PATH.fullmatch(path) is not None


def listed(columns: Iterable[object]) -> str:
    """List column names, those only counted that look like text."""
    columns = list(columns)
    plain = sorted(c for c in columns if isinstance(c, str) and _PLAIN_NAME.fullmatch(c))
    others = len(columns) - len(plain)
    shown = ", ".join(f"'{c}'" for c in plain)
    if not others:
        return shown or "(there are none)"
    hidden = f"{others} whose names look like text (is there a header line?)"
    return f"{shown} and {hidden}" if shown else hidden
