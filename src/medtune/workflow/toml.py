"""Writes specs as TOML, for people who go on with them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medtune.errors import SpecError, StorageError
from medtune.machine.owner_only import open_text, refuse_in_run

__all__ = ["toml_pairs", "toml_tables", "toml_text", "write_new"]


def toml_tables(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables inside a table, each with its own."""
    for key, inner in values.items():
        if isinstance(inner, dict):
            place = f"{name}.{_key(key)}" if name else _key(key)
            pairs = list(toml_pairs(inner))
            if pairs:
                yield from ("", f"[{place}]", *pairs)
            yield from toml_tables(place, inner)
        elif _are_tables(inner):
            place = f"{name}.{_key(key)}" if name else _key(key)
            for each in inner:
                yield from ("", f"[[{place}]]", *toml_pairs(each))


def toml_pairs(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value that is no table."""
    for name, value in values.items():
        if not isinstance(value, dict) and value is not None and not _are_tables(value):
            yield f"{_key(name)} = {toml_text(value)}"


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml_text(name)


def toml_text(value: Any) -> str:
    """Write a value as TOML does; its strings are escaped as JSON's are."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_new(target: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        SpecError: it is there already, or would lie in a run folder.
        StorageError: it cannot be written.
    """
    refuse_in_run(target)
    try:
        with open_text(target, "x") as file:
            file.write(text)
    except FileExistsError:
        raise SpecError(f"'{target}' is there already; remove it, or choose another --out") from None
    except OSError as error:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise StorageError(f"cannot write '{target}': {error.strerror}") from error
