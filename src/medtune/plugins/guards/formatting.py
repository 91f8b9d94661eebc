"""What a formatter may not do: give other examples for the same row, change the row, or fill an example with other types."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medtune.errors import PluginContractError
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

    def format_row(row: Mapping[str, Any]) -> Any:
        nonlocal left, rows
        rows += 1
        if left > 0 or not rows % _STRIDE:
            left -= 1
            found = _twice(call, row)
        else:
            found = _taken(call, call.function(row))
        # None is no example of this row, which is then set aside.
        if found is not None and found.source not in sources and len(sources) < _MOST_SOURCES:
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
        return _taken(call, call.function(row))
    format_row = call.boundary.keep(call.method, call.function, drawn=True)
    found = _taken(call, format_row(row))
    changed = [column for column, value in held.items() if not _alike(value, before[column])]
    call.require(not changed, f"changed column '{changed[0] if changed else ''}' of a row it was given", _ONE_EXAMPLE)
    try:
        second = _taken(call, format_row(again))
    except PluginContractError:
        raise
    except Exception as error:  # noqa: BLE001 - the first time it raised nothing
        second = type(error)
    call.require(_alike(found, second), "is not deterministic: the same row gave two different examples", _ONE_EXAMPLE)
    return found


def _taken(call: Call, found: Any) -> Any:
    """Return an example with turns of its own, which the formatter may use again for the next row; None as it is."""
    if found is None:
        return None
    _require_types(call, found)
    turns: Any = [dict(turn) for turn in found.messages]
    return Example(turns, found.source, found.task, found.row_id, found.document)


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
    """Refuse an example with fields of other types; exact types first, since this runs for every row."""
    if not isinstance(found, Example):
        raise call.fault(f"returned a {type(found).__name__}, not an Example", _ONE_EXAMPLE)
    messages: Any = found.messages
    if type(messages) is not list and (isinstance(messages, str) or not isinstance(messages, Sequence)):
        raise call.fault(f"returned an Example whose messages are a {type(messages).__name__}", "they are a list")
    for message in messages:
        if type(message) is not dict and not isinstance(message, Mapping):
            raise call.fault(
                f"returned an Example with a message that is a {type(message).__name__}",
                "a message is a mapping with role and content",
            )
    source, row_id, document, task = found.source, found.row_id, found.document, found.task
    if type(source) is type(row_id) is type(document) is str and (task is None or type(task) is str):
        return
    texts: tuple[Any, ...] = (source, row_id, document, task or "")
    if not all(isinstance(text, str) for text in texts):
        raise call.fault("returned an Example whose source, task, row_id or document is no text", "they are texts")
