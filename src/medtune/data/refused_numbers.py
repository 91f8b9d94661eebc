"""Numbers in rows that could not be used: options counted from 0 or from 1, and labels without names."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.options import LETTERS

__all__ = ["RefusedNumbers", "number_of", "setting_of"]

_ENOUGH_ROWS = 40
"""Rows among which one option of four is never right by chance about once in a hundred thousand sets."""
_MOST_LABELS = 50
_MOST_CODES, _GREATEST_CODE = 10, 50
"""Different numbers that may be codes of labels; more are measurements, and greater ones codes of a catalogue."""

Labels = Mapping[str, Mapping[str, str]]


class RefusedNumbers:
    """Takes down the numbers that stand where a letter, a text or the name of a label would."""

    def __init__(self) -> None:
        self._options: Mapping[str, str] = {}
        self._label_columns: tuple[str, ...] = ()
        self._classes: tuple[str, ...] = ()
        self._numbers: dict[str, set[int]] = {}
        self._labels: dict[str, set[int]] = {}
        self._accepted: dict[str, Counter[int | None]] = {}
        self._rows = self._most = 0

    def use(
        self, options: Mapping[str, str] | tuple[()], label_columns: Iterable[str], classes: Iterable[str] = ()
    ) -> None:
        """Take down where numbers may stand.

        Args:
            options: column that names an option -> column that holds them.
            label_columns: columns of labels.
            classes: those of them that hold nothing but the names of classes.
        """
        self._options, self._classes = dict(options), tuple(classes)
        self._label_columns = tuple(column for column in label_columns if column not in self._options)

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

    def note_accepted(self, row: Mapping[str, Any]) -> None:
        """Take down the numbers that a row has for labels: they are learned as they are."""
        for column in self._label_columns:
            counted = self._accepted.setdefault(column, Counter())
            if len(counted) <= _MOST_CODES:
                counted[number_of(row.get(column))] += 1

    def codes(self) -> Iterator[str]:
        """Yield a sentence on each column of which every value is one of a few numbers, with the setting that names them."""
        for column, found in self._few_numbers():
            if column not in self._classes:
                yield (
                    f"column '{column}' holds {len(found)} different numbers, which are learned as answers: if they are codes of "
                    f"labels, name them, as in {_named(column, found)}"
                )

    def nameless(self) -> str:
        """Return what is wrong with a column of classes that are numbers, empty where nothing is."""
        for column, found in self._few_numbers():
            if column in self._classes and min(found) >= 0 and max(found) <= _GREATEST_CODE:
                return (
                    f"column '{column}' holds {len(found)} different numbers, and an answer is a name: name them, as in "
                    f"{_named(column, found)}; a number that is meant as it is gets itself for a name"
                )
        return ""

    def _few_numbers(self) -> Iterator[tuple[str, list[int]]]:
        for column, counted in self._accepted.items():
            found = [number for number in counted if number is not None]
            if len(found) == len(counted) and 1 < len(found) <= _MOST_CODES and counted.total() >= 3 * len(found):
                yield column, found

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
        told = [f"from {min(names)}: {setting_of(column, names)}" for column, names in ways]
        if told:
            return (
                f"they are counted {told[0]}" if len(told) == 1 else ", or ".join(f"if counted {way}" for way in told)
            )
        for column, found in self._labels.items():
            return f"name the numbers, as in {_named(column, found)}"
        return ""


def number_of(value: Any) -> int | None:
    """Return the whole number that a value is, or that its text spells."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else None


def _named(column: str, numbers: Iterable[int]) -> str:
    return setting_of(column, {str(number): f"NAME_OF_{number}" for number in sorted(numbers)[:_MOST_LABELS]})


def _letters(first: int, count: int) -> dict[str, str]:
    return {str(number): letter for number, letter in enumerate(LETTERS[:count], start=first)}


def setting_of(column: str, names: Mapping[str, str]) -> str:
    """Return the setting that names the values of a column."""
    listed = ", ".join(f'{_key(value)}="{name}"' for value, name in names.items())
    return f"--set 'data.labels.{column}={{{listed}}}'"


def _key(value: str) -> str:
    """Return a value as the key of a TOML table."""
    return value if re.fullmatch(r"[\w-]+", value, re.ASCII) else json.dumps(value, ensure_ascii=False)
