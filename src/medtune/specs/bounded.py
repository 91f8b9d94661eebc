"""Reads small files that others wrote: regular ones, bounded in size and depth, each key once, numbers finite."""

import json
import math
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "DEEPEST",
    "LARGEST",
    "LONGEST_HEADER",
    "BoundsError",
    "bounded_bytes",
    "bounded_text",
    "is_too_deep",
    "is_utf8",
    "json_file",
    "json_value",
    "toml_value",
    "yaml_value",
]

DEEPEST = 64
"""Levels of tables and lists; the deepest that medtune or a library writes has a dozen."""
LONGEST_HEADER = 16 * 2**20
"""Bytes of the header of a safetensors file: 100,000 tensors, several times those of the largest file that is known."""
LARGEST = 64 * 2**20
"""Bytes of a file that a program wrote, such as the index of a base's weights."""
_MOST_DIGITS = 300  # more are infinite as a float
_MOST_NODES = 100_000  # of YAML, aliases written out
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89abAB])")
_LONG_NUMBER = re.compile(rf"\d{{{_MOST_DIGITS + 1}}}")
_BASE_60 = re.compile(r"(?:\d+:){16}")
"""A number as YAML 1.1 also writes it, whose parts are multiplied one by one."""
_LONG_KEY = re.compile(rf"(?<![\w\"'-])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){{{DEEPEST}}}")


class BoundsError(ValueError):
    """A file or its content is beyond a bound; the words go on from its name."""


def bounded_bytes(file: Path, most: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    A pipe or a device would keep whoever opens it waiting, or have no end: what it is is looked at before it is read.

    Raises:
        BoundsError: it is no regular file, or has more than ``most`` bytes.
        OSError: it cannot be read.
    """
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BoundsError("is a pipe, a device or a folder, and no regular file")
        content = stream.read(most + 1)
    if len(content) > most:
        size = f"{most >> 20} MiB" if most >= 2**20 else f"{most >> 10} KiB"
        raise BoundsError(f"is larger than {size}")
    return content


def bounded_text(file: Path, most: int = LARGEST) -> str:
    """Return the text of a regular file in UTF-8, without a byte order mark; raises as ``bounded_bytes``."""
    try:
        return bounded_bytes(file, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BoundsError("is not UTF-8 text") from None


def json_file(file: Path, most: int = LARGEST, *, finite: bool = True) -> Any:
    """Return the value of a JSON file; raises as ``bounded_text`` and ``json_value``."""
    return json_value(bounded_text(file, most), finite=finite)


def json_value(text: str, *, finite: bool = True) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text.
        finite: whether to refuse infinite numbers and NaN, which configurations of some models hold.

    Raises:
        BoundsError: it is nested too deeply, has a key twice, or a number or text that has no place in a file of settings.
        ValueError: it is not JSON.
    """
    whole: Any = _whole if _LONG_NUMBER.search(text) else None
    number: Any = _finite if finite else None
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=number, parse_float=number, parse_int=whole)
    except RecursionError:
        raise _too_deep() from None
    if _ESCAPED.search(text) or text.count("[") + text.count("{") > DEEPEST:
        _require_plain(value, finite=finite)
    return value


def toml_value(text: str) -> dict[str, Any]:
    """Return the value of a TOML text; raises as ``json_value``."""
    if _LONG_KEY.search(text):  # whose parts are copied once for each of them
        raise _too_deep()
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    _require_plain(value)
    return value


def yaml_value(text: str) -> Any:
    """Return the value of a YAML text; raises as ``json_value``, and where aliases stand for more than a file of settings has."""
    import yaml

    if _BASE_60.search(text):
        raise BoundsError("holds a number with more than 16 colons")
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _require_few_nodes(yaml.parse(text, Loader=loader))
        value = yaml.load(text, Loader=_once_each(loader))  # noqa: S506 - a safe loader
    except RecursionError:
        raise _too_deep() from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    _require_plain(value)
    return value


def is_too_deep(value: Any, text: str | bytes) -> bool:
    """Whether the value of a JSON text is nested deeper than whoever goes through it can follow."""
    marks = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if marks <= DEEPEST:
        return False
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _depth in range(DEEPEST):
        held = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
        level = [each for each in held if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def is_utf8(text: str) -> bool:
    """Whether a text can be written in UTF-8: it holds no half of a character (a lone surrogate)."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _too_deep() -> BoundsError:
    return BoundsError(f"is nested deeper than {DEEPEST} levels")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        counts = Counter(name for name, _value in members)
        raise _twice(counts.most_common(1)[0][0])
    return found


def _twice(key: object) -> BoundsError:
    return BoundsError(f"has the key {str(key)[:80]!r} twice in one table")


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise BoundsError(f"holds the number {written[:20]}, which is not finite")
    return number


def _whole(written: str) -> int:
    if len(written) > _MOST_DIGITS:
        raise BoundsError(f"holds a number of more than {_MOST_DIGITS} digits")
    return int(written)


def _require_plain(value: Any, *, finite: bool = True) -> None:
    """Refuse what is nested too deeply, and values that only some formats can write."""
    level: list[Any] = [value]
    for _depth in range(DEEPEST):
        level = [inner for each in level for inner in _inside(each, finite=finite)]
        if not level:
            return
    raise _too_deep()


def _inside(value: Any, *, finite: bool) -> Iterator[Any]:
    """Yield the values in a container, its keys included; check one that is none."""
    if isinstance(value, Mapping):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif isinstance(value, str):
        if "\0" in value:
            raise BoundsError("holds a NUL character")
        if not is_utf8(value):
            raise BoundsError("holds half a character (a lone surrogate)")
    elif finite and isinstance(value, float) and not math.isfinite(value):
        raise BoundsError(f"holds the number {value}, which is not finite")
    elif isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        raise BoundsError(f"holds a number of more than {_MOST_DIGITS} digits")


def _require_few_nodes(events: Iterator[Any]) -> None:
    """Count the nodes that a text stands for, each alias as often as it is used, without making any."""
    import yaml

    known: dict[str, int] = {}
    counts, anchors = [0], list[str | None]([None])
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in known:
                raise BoundsError(f"has the alias '{str(event.anchor)[:80]}' for what is not whole before it")
            counts[-1] += known[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            counts[-1] += 1
            known |= {event.anchor: 1} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            counts.append(1)
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            count, anchor = counts.pop(), anchors.pop()
            counts[-1] += count
            known |= {anchor: count} if anchor else {}
        if len(counts) > DEEPEST:
            raise _too_deep()
        if counts[-1] > _MOST_NODES:
            raise BoundsError(f"stands for more than {_MOST_NODES:,} values, aliases written out")


def _once_each(loader: type[Any]) -> type[Any]:
    """Return a loader that refuses a key that stands twice, of which YAML's own takes the last."""

    class Once(loader):  # type: ignore[misc] # which of two it is depends on what is installed
        def flatten_mapping(self, node: Any) -> None:
            seen = set[Any]()
            for key, _value in node.value:
                name = (key.tag, key.value) if isinstance(key.value, str) else None
                if name in seen:
                    raise _twice(key.value)
                seen.add(name) if name else None
            super().flatten_mapping(node)

    return Once
