"""Numbers in rows that could not be used: options counted from 0 or from 1, and labels without names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.options import LETTERS

__all__ = ["RefusedNumbers", "number_of"]

_ENOUGH_ROWS = 40
"""Rows among which one option of four is never right by chance about once in a hundred thousand sets."""
_MOST_LABELS = 50

Labels = Mapping[str, Mapping[str, str]]


class RefusedNumbers:
    """Takes down the numbers that stand where a letter, a text or the name of a label would."""

    def __init__(self) -> None:
        self._options: Mapping[str, str] = {}
        self._label_columns: tuple[str, ...] = ()
        self._numbers: dict[str, set[int]] = {}
        self._labels: dict[str, set[int]] = {}
        self._rows = self._most = 0

    def use(self, options: Mapping[str, str], label_columns: Iterable[str]) -> None:
        """Say where numbers may stand.

        Args:
            options: column that names an option -> column that holds them.
            label_columns: columns of labels.
        """
        self._options = options
        self._label_columns = tuple(column for column in label_columns if column not in options)

    def note(self, row: Mapping[str, Any]) -> None:
        """Take down a row that could not be used."""
        for column, options in self._options.items():
            number, held = number_of(row.get(column)), row.get(options)
            if number is not None and isinstance(held, list | Mapping):
                self._rows += 1
                self._most = max(self._most, len(cast("Sequence[Any]", held)))
                self._numbers.setdefault(column, set()).add(number)
        for column in self._label_columns:
            value = row.get(column)
            found = cast("Sequence[Any]", value) if isinstance(value, list) else [value]
            numbers = [number for one in found if not isinstance(one, str) and (number := number_of(one)) is not None]
            if numbers and len(numbers) == len(found):
                self._labels.setdefault(column, set()).update(numbers)

    def letters(self, known: Labels) -> list[dict[str, dict[str, str]]]:
        """Return what ``data.labels`` may be for numbers of options: one value where they tell, two where they do not.

        Args:
            known: labels that the spec has already.
        """
        for column, found in self._numbers.items():
            count = min(self._most, len(LETTERS))
            if min(found) < 0 or max(found) > count:
                continue
            firsts = [0] if 0 in found else [0, 1]
            if max(found) == count or self._rows >= _ENOUGH_ROWS or column in known:
                firsts = firsts[-1:]
            return [{column: _letters(first, count)} for first in firsts]
        return []

    def advice(self, known: Labels) -> str:
        """Return the setting that names the numbers, two where it is not known; empty where numbers are no cause."""
        ways = [pair for way in self.letters(known) for pair in way.items()]
        told = [f"from {min(names)}: {_setting(column, names)}" for column, names in ways]
        if told:
            return (
                f"they are counted {told[0]}" if len(told) == 1 else ", or ".join(f"if counted {way}" for way in told)
            )
        for column, found in self._labels.items():
            names = {str(number): f"NAME_OF_{number}" for number in sorted(found)[:_MOST_LABELS]}
            return f"name the numbers, as in {_setting(column, names)}"
        return ""


def number_of(value: Any) -> int | None:
    """Return the whole number that a value is, or that its text spells."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else None


def _letters(first: int, count: int) -> dict[str, str]:
    return {str(number): letter for number, letter in enumerate(LETTERS[:count], start=first)}


def _setting(column: str, names: Mapping[str, str]) -> str:
    listed = ", ".join(f'{number}="{name}"' for number, name in names.items())
    return f"--set 'data.labels.{column}={{{listed}}}'"
