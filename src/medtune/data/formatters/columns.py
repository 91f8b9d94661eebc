"""Reads columns of a row, and says in words (never with its content) what is wrong with one."""

from collections.abc import Mapping
from typing import Any

from medtune.plugins.contracts import Example, Message

__all__ = ["MalformedRowError", "conversation", "optional_text", "text"]


class MalformedRowError(ValueError):
    """What is wrong with a row, in words that are safe to log: column names and types, never what stands in them.

    The quarantine shows this sentence. Of any other exception it shows the type alone, since libraries quote values.
    """


def text(row: Mapping[str, Any], column: str) -> str:
    """Return a column that must hold text.

    Raises:
        MalformedRowError: it is missing, null, of another type, or blank.
    """
    value = row.get(column)
    if isinstance(value, str):
        if value and not value.isspace():
            return value
        raise MalformedRowError(f"column '{column}' is empty")
    if column not in row:
        raise MalformedRowError(f"column '{column}' is missing")
    if value is None:
        raise MalformedRowError(f"column '{column}' is null")
    raise MalformedRowError(f"column '{column}' holds a value of type {type(value).__name__}, not text")


def optional_text(row: Mapping[str, Any], column: str) -> str:
    """Return a column that may be missing, null or blank; MalformedRowError for another type."""
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedRowError(f"column '{column}' holds a value of type {type(value).__name__}, not text")
    return value


def conversation(question: str, answer: str, row: Mapping[str, Any]) -> Example:
    """Return the example of one question and one answer, with the row's ``source`` where it has one."""
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example(messages, source=optional_text(row, "source"))
