"""What a task may not do with the examples it is given: write into them, since others are asked the same ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from medtune.plugins.contracts import Example, Prediction
from medtune.plugins.guards.boundary import Call

__all__ = ["checked_draft", "checked_parse", "lent", "with_lent"]

_KEPT = "a task leaves the examples that it is given as they are"


def lent(call: Call, ask: Callable[[Example], Any], example: Example) -> Any:
    """Return what a function says of a copy of an example, which it may not change."""
    given = _copied(example)
    found = ask(given)
    _require_kept(call, given, example)
    return found


def with_lent(call: Call, predictions: Sequence[Prediction]) -> Any:
    """Return what a method says of copies of predictions, whose examples it may not change."""
    given = [replace(each, example=_copied(each.example)) for each in predictions]
    found = call.function([*given])  # a list that it may sort
    for mine, theirs in zip(given, predictions, strict=True):
        _require_kept(call, mine.example, theirs.example)
    return found


def checked_parse(call: Call) -> Callable[[str, Example], Any]:
    """Return a task's ``parse``, which reads an example and does not write it."""
    return lambda text, example: lent(call, lambda given: call.function(text, given), example)


def checked_draft(call: Call) -> Callable[[Example], Any]:
    """Return a task's ``draft``, likewise."""
    return lambda example: lent(call, call.function, example)


def _copied(example: Any) -> Any:
    if not isinstance(example, Example):
        return example
    turns: Any = [{**turn} for turn in example.messages]
    return Example(turns, example.source, example.task, example.row_id, example.document)


def _require_kept(call: Call, given: Any, example: Any) -> None:
    is_kept = given is example or given.messages == list(example.messages)
    call.require(is_kept, "changed the messages of an example it was given", _KEPT)
