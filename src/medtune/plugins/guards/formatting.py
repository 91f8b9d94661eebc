"""What a formatter may not do: give other examples for the same row, change the row, or fill an example with other types."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medtune.plugins.contracts import Example
from medtune.plugins.guards.boundary import Call

__all__ = ["checked_format"]

_FIRST_ROWS, _STRIDE = 8, 256
"""Rows of a source that are formatted twice: the first ones, then every so many."""
_MOST_SOURCES = 1000
_ONE_EXAMPLE = "a formatter returns a medtune.Example of a row, the same for the same row, and leaves the row as it is"


def checked_format(call: Call) -> Callable[[Mapping[str, Any]], Example]:
    """Return a formatter's ``format``, which is called twice on some rows of each source."""
    sources: set[str] = set()
    left, rows = _FIRST_ROWS, 0

    def format_row(row: Mapping[str, Any]) -> Example:
        nonlocal left, rows
        rows += 1
        if left > 0 or not rows % _STRIDE:
            left -= 1
            found = _twice(call, row)
        else:
            found = call.function(row)
        if found is not None:  # None is no example of this row, which is then set aside
            _require_types(call, found)
            if found.source not in sources and len(sources) < _MOST_SOURCES:
                sources.add(found.source)
                left = _FIRST_ROWS
        return found

    return format_row


def _twice(call: Call, row: Mapping[str, Any]) -> Any:
    """Format a row and a copy of it, and compare both the examples and the row with what it was."""
    # the items of the dict itself: a row that takes down what is read of it would take this for the formatter's reading
    held = dict(dict.items(row)) if isinstance(row, dict) else dict(row)
    try:
        before, again = copy.deepcopy(held), copy.deepcopy(held)
    except Exception:  # noqa: BLE001 - values that cannot be copied: nothing can be compared
        return call.function(row)
    found = call.function(row)
    changed = [column for column, value in held.items() if not _alike(value, before[column])]
    call.require(not changed, f"changed column '{changed[0] if changed else ''}' of a row it was given", _ONE_EXAMPLE)
    if found is not None:
        _require_types(call, found)
    try:
        second = call.function(again)
    except Exception as error:  # noqa: BLE001 - the first time it raised nothing
        second = type(error)
    call.require(_alike(found, second), "is not deterministic: the same row gave two different examples", _ONE_EXAMPLE)
    return found


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are equal; values that cannot be compared count as equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    try:
        return one is other or bool(one == other) or one != one  # noqa: PLR0124 - a number that is none
    except Exception:  # noqa: BLE001 - such as arrays
        return True


def _require_types(call: Call, found: Any) -> None:
    if not isinstance(found, Example):
        raise call.fault(f"returned a {type(found).__name__}, not an Example", _ONE_EXAMPLE)
    messages: Any = found.messages
    if not isinstance(messages, list | tuple) and (isinstance(messages, str) or not isinstance(messages, Sequence)):
        raise call.fault(f"returned an Example whose messages are a {type(messages).__name__}", "they are a list")
    for message in messages:
        if not isinstance(message, dict | Mapping):
            raise call.fault(
                f"returned an Example with a message that is a {type(message).__name__}",
                "a message is a mapping with role and content",
            )
    texts = (found.source, found.row_id, found.document, found.task or "")
    if not all(isinstance(text, str) for text in texts):
        raise call.fault("returned an Example whose source, task, row_id or document is no text", "they are texts")
