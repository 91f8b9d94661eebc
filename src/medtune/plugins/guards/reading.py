"""What a reader may not yield: anything but rows, each a mapping of its own; other rows when it reads a file again."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from medtune.plugins.guards.boundary import Call

__all__ = ["checked_rows", "own_row"]

_ROWS = "it yields a mapping for each row, its keys the names of columns"
_SAME = "it yields the rows of a file in order, the same ones each time"
_PLAIN = (str, int, float, bool, bytes, type(None))
_FIRST_ROWS = 64
"""Rows of a file that are compared as they are read; a file may be left off before its end."""
_DRAWN = 8
"""First rows of a file at which it is seen whether a reader sets random generators."""
_Reading = list[bytes]
"""Digests of a file up to each of its first rows, and up to its end."""


def checked_rows(call: Call) -> Callable[..., Iterator[Mapping[str, Any]]]:
    """Return a reader's ``rows``, guarded as long as they are read; each row is a copy, since a reader may use one dict again."""
    known: dict[tuple[Any, ...], _Reading] = {}

    def rows(path: Path, *args: Any, **kwargs: Any) -> Iterator[Mapping[str, Any]]:
        found = call.boundary.keep(call.method, call.function)(path, *args, **kwargs)
        is_one_thing = found is None or isinstance(found, str | bytes | Mapping)
        call.require(not is_one_thing and hasattr(found, "__iter__"), f"returned a {type(found).__name__}", _ROWS)
        return _read(call, iter(cast("Iterable[Any]", found)), known, _content(path))

    return rows


def own_row(value: Any) -> Any:
    """Return a row, or what it holds, without the mappings and lists of whoever made it; what cannot be copied as it is."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {key: own_row(held) for key, held in value.items()}
    if type(value) is list or type(value) is tuple:
        return type(value)(map(own_row, value))
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - values that cannot be copied
        return value


def _read(
    call: Call, rows: Iterator[Any], known: dict[tuple[Any, ...], _Reading], content: tuple[Any, ...]
) -> Iterator[Mapping[str, Any]]:
    before, now, digest = known.get(content), _Reading(), hashlib.blake2b(digest_size=16)
    end: Any = object()
    take, take_first = (call.boundary.keep(call.method, _next, drawn=drawn) for drawn in (False, True))
    while (row := call.boundary.run(call.method, take if len(now) > _DRAWN else take_first, rows, end)) is not end:
        is_row = isinstance(row, Mapping) and all(isinstance(column, str) for column in row)
        call.require(is_row, f"yielded a {type(row).__name__} that is no row", _ROWS)
        digest.update(_told(row))
        if len(now) < _FIRST_ROWS:
            now.append(digest.digest())
            call.require(before is None or now == before[:-1][: len(now)], _OTHER, _SAME)
        yield row
    now.append(digest.digest())
    call.require(before is None or now == before, _OTHER, _SAME)
    if content:
        known[content] = now


_OTHER = "gave other rows of a file than when it read it before"


def _next(rows: Iterator[Any], end: Any) -> Any:
    """Return a copy of the next row; copying it runs code of its mapping."""
    row = next(rows, end)
    return own_row(row) if isinstance(row, Mapping) else row


def _told(row: Mapping[str, Any]) -> bytes:
    """Return a row as bytes that are the same for equal rows; of an object without a text of its own nothing."""
    told = repr(row)
    return (told if " at 0x" not in told else repr(list(row))).encode(errors="surrogatepass")


def _content(path: Any) -> tuple[Any, ...]:
    """Return what is the same as long as a file is; nothing where that is not known."""
    try:
        stat = Path(path).stat()
    except (OSError, TypeError):
        return ()
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns
