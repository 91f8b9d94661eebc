"""Answers that give the number of an option: whether they count from 0 or from 1 is seen over many rows."""

from collections.abc import Mapping
from typing import Any

from medtune.data.formatters.options import LETTERS

__all__ = ["NumberedOptions", "number_of"]

_ENOUGH_ROWS = 40
"""Rows among which one option of four is never right by chance about once in a hundred thousand sets."""


class NumberedOptions:
    """Takes down the numbers that stand where a letter or a text would name an option."""

    def __init__(self) -> None:
        self._options: Mapping[str, str] = {}
        self._found: dict[str, set[int]] = {}
        self._rows = self._most = 0

    def use(self, options: Mapping[str, str]) -> None:
        """Say which column names an option, and which one holds them: answer -> options."""
        self._options = options

    def note(self, row: Mapping[str, Any]) -> None:
        """Take down a row that could not be used."""
        for column, options in self._options.items():
            number, held = number_of(row.get(column)), row.get(options)
            if number is not None and isinstance(held, list | Mapping):
                self._rows += 1
                self._most = max(self._most, len(held))
                self._found.setdefault(column, set()).add(number)

    def advice(self, labels: Mapping[str, Mapping[str, str]]) -> str:
        """Return the setting that names the options, both where it is not known; empty where numbers are no cause.

        Args:
            labels: those that the spec has already.
        """
        for column, found in self._found.items():
            count = min(self._most, len(LETTERS))
            if min(found) < 0 or max(found) > count:
                continue
            zero, one = _setting(column, 0, count), _setting(column, 1, count)
            if 0 in found:
                return f"they are counted from 0: {zero}"
            if max(found) == count or self._rows >= _ENOUGH_ROWS or column in labels:
                return f"they are counted from 1: {one}"
            return f"if they are counted from 0: {zero}, if from 1: {one}"
        return ""


def number_of(value: Any) -> int | None:
    """Return the whole number that a value is, or that its text spells."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else None


def _setting(column: str, first: int, count: int) -> str:
    names = ", ".join(f'{number}="{letter}"' for number, letter in enumerate(LETTERS[:count], start=first))
    return f"--set 'data.labels.{column}={{{names}}}'"
