"""Reads columns of a row, and says in words (never with its content) what is wrong with one."""

from collections.abc import Mapping
from typing import Any

from medtune.plugins.contracts import Example, Message

__all__ = ["conversation", "optional_text", "text"]


def text(row: Mapping[str, Any], column: str) -> str:
    """Return a column that must hold text.

    Raises:
        ValueError: it is missing, null, of another type, or blank.
    """
    value = row.get(column)
    if isinstance(value, str):
        if value and not value.isspace():
            return value
        raise ValueError(f"column '{column}' is empty")
    if column not in row:
        raise ValueError(f"column '{column}' is missing")
    if value is None:
        raise ValueError(f"column '{column}' is null")
    raise ValueError(f"column '{column}' holds a {type(value).__name__}, not text")


def optional_text(row: Mapping[str, Any], column: str) -> str:
    """Return a column that may be missing, null or blank; ValueError for another type."""
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"column '{column}' holds a {type(value).__name__}, not text")  # noqa: TRY004 - one kind
    return value


def conversation(question: str, answer: str, row: Mapping[str, Any]) -> Example:
    """Return the example of one question and one answer, with the row's ``source`` where it has one."""
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example(messages, source=optional_text(row, "source"))
