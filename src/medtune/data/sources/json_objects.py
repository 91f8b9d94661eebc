"""Finds the rows in a JSON object that is a whole file."""

from collections.abc import Mapping
from typing import Any, cast

from medtune.data.sources.names import listed

__all__ = ["field_advice", "rows_of_object"]


def rows_of_object(values: Mapping[str, Any]) -> tuple[list[Any], str]:
    """Return the rows of an object that is nothing but rows, and how they lie in it; no rows for any other object.

    Two kinds are: rows by their id, as PubMedQA's own release has them, and columns whose values stand by row number,
    as ``DataFrame.to_json`` writes them by default.
    """
    inner = list(values.values())
    if not inner or not all(isinstance(value, dict) and value for value in inner):
        return [], ""
    keys = [cast("dict[str, Any]", value).keys() for value in inner]
    numbered = all(key.isdecimal() for key in keys[0])
    if numbered and all(other == keys[0] for other in keys):
        return [{column: value[number] for column, value in values.items()} for number in keys[0]], "columns of values"
    if not numbered and len(inner) > 1 and keys[0] & keys[1]:
        return inner, "rows by their id"
    return [], ""


def field_advice(values: Mapping[str, Any]) -> str:
    """Say which ``data.field`` leads to the rows of an object, without its text."""
    lists = [key for key, value in values.items() if _holds_objects(value)]
    if len(lists) == 1 and listed(lists) == f"'{lists[0]}'":
        return f"if they are those in '{lists[0]}', set data.field={lists[0]}"
    return f"set data.field to where they are; it has {listed(values)}"


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
