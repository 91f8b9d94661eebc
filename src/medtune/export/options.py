"""Reads the options of an exporter: what is not known is refused, never ignored."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.errors import SpecError, UnknownNameError

__all__ = ["chosen", "read_options", "switch"]


def read_options(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with defaults for those that were not given.

    Raises:
        UnknownNameError: an option that exporter ``name`` does not have.
    """
    for key in options:
        if key not in defaults:
            raise UnknownNameError(f"option of exporter '{name}'", key, defaults)
    return {**defaults, **options}


def chosen(name: str, option: str, value: Any, known: Sequence[str]) -> str:
    """Return a value that is one of ``known``, whatever its case; raise UnknownNameError otherwise."""
    found = {each.lower(): each for each in known}.get(str(value).lower())
    if found is None:
        raise UnknownNameError(f"{option} of exporter '{name}'", str(value), known)
    return found


def switch(name: str, option: str, value: Any) -> bool:
    """Return a boolean, from a command line as "true" or "false"."""
    found = {"true": True, "false": False}.get(str(value).lower())
    if found is None:
        raise SpecError(f"{option} of exporter '{name}' is {value!r}; use true or false")
    return found
