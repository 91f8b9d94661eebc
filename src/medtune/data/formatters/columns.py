"""Reads columns of a row, and says in words (never with its content) what is wrong with one."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.plugins.contracts import Example, Message

__all__ = ["MalformedRowError", "conversation", "optional_text", "source_of", "text", "with_context"]


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
    raise _not_text(column, value)


def optional_text(row: Mapping[str, Any], column: str) -> str:
    """Return a column that may be missing, null or blank; MalformedRowError for another type."""
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _not_text(column, value)
    return value


def source_of(row: Mapping[str, Any]) -> str:
    """Return the row's ``source``, a number as its text; empty when it has none."""
    value = row.get("source")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else optional_text(row, "source")


def _not_text(column: str, value: Any) -> MalformedRowError:
    way = f"; data.labels.{column} names numbers" if isinstance(value, int | float) else ""
    return MalformedRowError(f"column '{column}' holds a value of type {type(value).__name__}, not text{way}")


def conversation(question: str, answer: str, row: Mapping[str, Any]) -> Example:
    """Return the example of one question and one answer, with the row's ``system`` and ``source`` where it has them."""
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    system = optional_text(row, "system")
    if system and not system.isspace():
        messages.insert(0, {"role": "system", "content": system})
    return Example(messages, source=source_of(row))


def with_context(question: str, row: Mapping[str, Any]) -> str:
    """Put the row's ``context`` before a question, a blank line between; texts in a list are joined the same way."""
    value = row.get("context")
    texts: Sequence[Any] = cast("Sequence[Any]", value) if isinstance(value, list) else [optional_text(row, "context")]
    if not all(isinstance(part, str) for part in texts):
        raise MalformedRowError("column 'context' holds a list of other things than texts")
    return "\n\n".join([*(part.strip() for part in texts if part.strip()), question])
