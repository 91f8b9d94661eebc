"""Reads what was extracted out of an answer, a list or JSON, as a set of items that can be compared."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from medtune.evaluation.negative_labels import NOTHING
from medtune.evaluation.plain_text import normal

__all__ = ["Items", "items_in", "parsed_json", "says_nothing"]

_OFFSETS = frozenset({
    "start", "end", "begin", "offset", "offsets", "span", "spans", "length", "start_char", "end_char", "char_start",
    "char_end", "start_offset", "end_offset", "from", "to", "position", "positions",
})  # fmt: skip
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\d{1,3}[.)])\s+")
_NOTHING = NOTHING | {"no entities", "no entity", "nothing", "empty", "[]", "{}", "no"}
_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_PAIR = re.compile(r"\s*(?::|\t|=)\s+|\t|\s+:\s*")
_OPENING, _BRACKET = re.compile(r"[\[{]"), re.compile(r"[\[\]{}]")
_DEEPEST = 40

Item = tuple[str, ...]


class Items(NamedTuple):
    """What an answer holds.

    Attributes:
        plain: items without where they stand.
        placed: items with their offsets, where any are given.
        has_offsets: whether any are.
    """

    plain: frozenset[Item]
    placed: frozenset[Item]
    has_offsets: bool = False

    def folded(self) -> frozenset[Item]:
        """Return the items whatever their case."""
        return frozenset(tuple(part.casefold() for part in item) for item in self.plain)


def says_nothing(text: str) -> bool:
    """Whether an answer says that nothing is there to list."""
    return text.strip().casefold().strip(" .\u3002") in _NOTHING


def items_in(text: str, separator: str = "", *, lenient: bool = False) -> Items | None:
    """Return the items of an answer; None where it should be JSON and is none.

    Of JSON every value with its path is an item, in lists without its place; an object in a list is one item, and its
    offsets are set apart. Of a list every part is one; ``key : value`` counts as such with one space.

    Args:
        text: the answer.
        separator: what parts the items of a list; empty for JSON.
        lenient: whether JSON may stand in a sentence.
    """
    if not separator:
        parsed = parsed_json(text)
        parsed = _first_json(text) if parsed is None and lenient else parsed
        return None if parsed is None else _of_json(parsed)
    found = _of_list(normal(text), separator)
    items = frozenset((part,) for part in found)
    return Items(items, items)


def parsed_json(text: str) -> Any:
    """Return the object or array that a text is, alone or in a code fence; None for any other text."""
    fenced = _FENCED.search(text)
    bare = (fenced[1] if fenced else text).strip()
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _first_json(text: str) -> Any:
    """Return the first object or array that a text holds; None without one, and for what is only part of a broken one."""
    place = 0
    while found := _OPENING.search(text, place):
        try:
            return json.JSONDecoder().raw_decode(text, found.start())[0]
        except (ValueError, RecursionError):
            place = _end_of_brackets(text, found.start())
    return None


def _end_of_brackets(text: str, start: int) -> int:
    """Return the place behind the bracket that closes the one at ``start``; the end of the text where none does."""
    depth = 0
    for found in _BRACKET.finditer(text, start):
        depth += 1 if found[0] in "[{" else -1
        if not depth:
            return found.end()
    return len(text)


def _of_json(value: Any) -> Items:
    plain: set[Item] = set()
    placed: set[Item] = set()
    has_offsets = False
    for item, where in _flat(value, (), inside_list=False, depth=0):
        plain.add(item)
        placed.add((*item, where) if where else item)
        has_offsets = has_offsets or bool(where)
    return Items(frozenset(plain), frozenset(placed), has_offsets)


def _flat(value: Any, path: Item, *, inside_list: bool, depth: int) -> Iterator[tuple[Item, str]]:
    """Yield items with their offsets as text, empty where they have none."""
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _flat(one, path, inside_list=True, depth=depth + 1)
    elif isinstance(value, dict):
        if inside_list and (whole := _as_one(value)) is not None:
            yield (*path, *whole[0]), whole[1]
            return
        for key, inner in value.items():
            yield from _flat(inner, (*path, normal(str(key)).strip()), inside_list=False, depth=depth + 1)
    elif (written := _written(value)) != "":
        yield (*path, written), ""


def _as_one(value: Mapping[str, Any]) -> tuple[Item, str] | None:
    """Return an object of plain values as one item with its offsets; None for one that holds others."""
    rest = {key: inner for key, inner in value.items() if key.lower() not in _OFFSETS}
    if not rest or any(isinstance(inner, dict | list) for inner in rest.values()):
        return None
    places = {key.lower(): inner for key, inner in value.items() if key.lower() in _OFFSETS}
    parts = sorted(f"{normal(str(key)).strip()}={_written(inner)}" for key, inner in rest.items() if _written(inner))
    return tuple(parts), json.dumps(places, sort_keys=True) if places else ""


def _written(value: Any) -> str:
    """Write a plain value so that equal ones are equal: 20 and 20.0, spaces; empty for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if abs(value) < 1e15 else repr(value)  # noqa: PLR2004 - beyond it floats skip integers
    return " ".join(normal(str(value)).split())


def _of_list(text: str, separator: str) -> list[str]:
    if says_nothing(text):
        return []
    if isinstance(listed := parsed_json(text), list):
        return [
            part for one in listed if (part := _written(one) if not isinstance(one, dict | list) else json.dumps(one))
        ]
    lines = [line for line in text.split("\n") if line.strip()]
    bulleted = bool(lines) and all(_BULLET.match(line) for line in lines)
    parts = lines if bulleted or separator == "\n" or len(lines) > 1 else text.split(separator.strip() or separator)
    found = (" ".join(_PAIR.sub(" : ", _BULLET.sub("", part), count=1).split()).strip(" .") for part in parts)
    return [part for part in found if part]
