"""What a reader may not yield: anything but rows, each a mapping from the names of its columns."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from medtune.plugins.guards.boundary import Call

__all__ = ["checked_rows"]

_ROWS = "it yields a mapping for each row, its keys the names of columns"


def checked_rows(call: Call) -> Callable[..., Iterator[Mapping[str, Any]]]:
    """Return a reader's ``rows``, guarded as long as they are read."""

    def rows(*args: Any, **kwargs: Any) -> Iterator[Mapping[str, Any]]:
        found = call.function(*args, **kwargs)
        is_one_thing = found is None or isinstance(found, str | bytes | Mapping)
        call.require(not is_one_thing and hasattr(found, "__iter__"), f"returned a {type(found).__name__}", _ROWS)
        return _read(call, iter(cast("Iterable[Any]", found)))

    return rows


def _read(call: Call, rows: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    end: Any = object()
    while (row := call.boundary.run(call.method, next, rows, end)) is not end:
        is_row = isinstance(row, Mapping) and all(isinstance(column, str) for column in row)
        call.require(is_row, f"yielded a {type(row).__name__} that is no row", _ROWS)
        yield row
