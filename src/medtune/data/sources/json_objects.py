"""Finds the rows in a JSON object that is a whole file."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.data.sources.names import LIST_COLUMNS, is_plain, listed
from medtune.data.sources.paths import named_split

__all__ = ["field_advice", "rows_of_object", "unequal_columns"]

_MOST_COLUMNS = 20
"""Keys that all objects share, and twice as many as there are objects, from which they are names of rows."""


def rows_of_object(values: Mapping[str, Any]) -> tuple[list[Any], str]:
    """Return the rows of an object that is nothing but rows, and how they lie in it; no rows for any other object.

    They are rows by their id, as PubMedQA's own release has them; columns whose values stand by row number or name, as
    ``DataFrame.to_json`` writes them by default; columns that are lists, as ``DataFrame.to_dict("list")`` has them; or
    column names and lists of values, as ``orient="split"`` writes them.
    """
    if rows := _of_split(values):
        return rows, "columns and data of orient='split'"
    inner = list(values.values())
    if not inner or not all(isinstance(value, dict | list) and value for value in inner):
        return [], ""
    if all(isinstance(value, list) for value in inner):
        return (_of_lists(values), "columns of values") if _are_columns(values) else ([], "")
    if not all(isinstance(value, dict) for value in inner):
        return [], ""
    keys = [cast("dict[str, Any]", value).keys() for value in inner]
    same, numbered = all(other == keys[0] for other in keys), all(key.isdecimal() for key in keys[0])
    if same and (numbered or len(keys[0]) > max(_MOST_COLUMNS, 2 * len(keys))):
        return [{column: value[number] for column, value in values.items()} for number in keys[0]], "columns of values"
    if not numbered and len(inner) > 1 and keys[0] & keys[1]:
        return inner, "rows by their id"
    return [], ""


def _of_split(values: Mapping[str, Any]) -> list[Any]:
    """Return the rows of columns and lists of values."""
    if not {"columns", "data"} <= values.keys() <= {"columns", "data", "index"}:
        return []
    columns, data = values["columns"], values["data"]
    if not isinstance(columns, list) or not isinstance(data, list):
        return []
    names = cast("Sequence[Any]", columns)
    rows = cast("Sequence[Any]", data)
    fits = all(isinstance(name, str) for name in names) and all(
        isinstance(row, list) and len(cast("Sequence[Any]", row)) == len(names) for row in rows
    )
    return [dict(zip(names, row, strict=True)) for row in rows] if fits else []


def _are_columns(values: Mapping[str, Sequence[Any]]) -> bool:
    """Whether lists are the columns of a table: of one length, several, and not the lists of a single row.

    Arrays of objects under names are rows; what formatters take as lists (turns, tokens, options) is a row's own.
    """
    lengths = {len(column) for column in values.values()}
    several = len(lengths) == 1 and len(values) > 1
    holds_values = any(not isinstance(value, dict) for column in values.values() for value in column)
    return several and holds_values and not values.keys() <= LIST_COLUMNS


def unequal_columns(values: Mapping[str, Any]) -> str:
    """Say which arrays of an object look like columns of a table that it is not; "" where it may be a row.

    They are two arrays or more with something else than objects in them, of different lengths or beside other values.
    """
    lengths = {
        key: len(cast("Sequence[Any]", value))
        for key, value in values.items()
        if key not in LIST_COLUMNS and isinstance(value, list) and any(not isinstance(inner, dict) for inner in value)
    }
    if len(lengths) < 2 or max(lengths.values()) < 2:  # noqa: PLR2004 - columns, and rows
        return ""
    named = [f"'{key}' ({length:,})" for key, length in lengths.items() if is_plain(key)]
    others = len(lengths) - len(named)
    more = f" and {others} more whose names look like text" if others else ""
    return f"{', '.join(named[:_MOST_COLUMNS])}{more}"


def _of_lists(values: Mapping[str, Sequence[Any]]) -> list[Any]:
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def field_advice(values: Mapping[str, Any]) -> str:
    """Say which ``data.field`` leads to the rows of an object, without its text."""
    lists = [key for key, value in values.items() if _holds_objects(value)]
    if not lists or not all(map(is_plain, lists)):
        return f"set data.field to where they are; it has {listed(values)}"
    train = next((key for key in lists if named_split(key) == "train"), None)
    scored = next((key for key in lists if named_split(key) == "validation"), None)
    if train and scored:
        return f"set data.field={train} data.validation={scored}"
    if train or len(lists) == 1:
        return f"if they are those in '{train or lists[0]}', set data.field={train or lists[0]}"
    return f"set data.field to one of {listed(lists)}"


def _holds_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
