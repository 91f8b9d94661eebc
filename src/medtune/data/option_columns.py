"""Finds options of a question that stand in columns of their own which nothing reads, by what the answers say of them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from shlex import quote
from typing import Any

from medtune.data.formatters.options import LETTERS
from medtune.data.refused_numbers import RefusedNumbers, number_of, setting_of

__all__ = ["OptionColumns"]

_NUMBERED = (re.compile(r"(.*?)([A-Ja-j]|\d{1,2})"), re.compile(r"()([A-Ja-j]|\d{1,2})([_ .-].*)"))
"""A name that ends, or begins, with the letter or number of an option."""
_CERTAIN = 0.9
"""Share of the rows whose answer names one of the columns."""
_ASKED = ("question", "instruction", "prompt", "text")
_ANSWERED = ("answer", "output", "completion", "response", "label")
_LONGEST_NAME = 40


class OptionColumns:
    """Takes the rows of one source that became examples.

    Columns are options where their names are numbered or lettered on end, and the answers name one of them in nearly every
    row: by its text, letter, number or name, and not always the same.

    Args:
        needed: columns that the formatter needs.
        known: all columns that are read, or declared to be read by nobody.
        further: the formatter's column of further text, empty for none.
    """

    def __init__(self, needed: Collection[str], known: Collection[str], further: str) -> None:
        self._asked = next((role for role in _ASKED if role in needed), "")
        self._answered = next((role for role in _ANSWERED if role in needed), "")
        self._known, self._further = frozenset(known), further
        self._series: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._seen: dict[tuple[str, ...], _Series] = {}

    def note(self, row: Mapping[str, Any]) -> None:
        """Look at a row as its formatter got it."""
        if not (self._asked and self._answered):
            return
        names = tuple(row)
        if names not in self._series:
            self._series[names] = _series_in([name for name in names if name not in self._known])
        if series := self._series[names]:
            answer = row.get(self._answered)
            if answer is not None:
                if series not in self._seen:
                    self._seen[series] = _Series(series)
                self._seen[series].note(str(answer).strip(), row)

    def refusal(self, rows: str, columns: Mapping[str, Sequence[str]]) -> str:
        """Return the sentence that names options which nothing reads, with the settings that read them; "" for none.

        Args:
            rows: what the rows are called.
            columns: ``data.columns`` of the spec.
        """
        for series, seen in self._seen.items():
            if (labels := seen.labels()) is not None:
                metadata = ",".join((*sorted(columns.get("metadata", ())), *series))
                return (
                    f"the answers of the {rows} name one of the columns {', '.join(map(repr, series))}, which nothing reads: they "
                    f"look like options; read them with {self._ways(series, seen, columns)}{''.join(labels)}, or declare them "
                    f"with --set {quote(f'data.columns.metadata={metadata}')}"
                )
        return ""

    def _ways(self, series: Sequence[str], seen: "_Series", columns: Mapping[str, Sequence[str]]) -> str:
        roles = {"question": self._asked, "answer": self._answered}
        if self._further not in ("", "context") and seen.has(self._further):
            roles["context"] = self._further
        taken = {role: ",".join(columns.get(own, (own,))) for role, own in roles.items()}
        sets = [f"data.columns.{role}={column}" for role, column in taken.items() if role != column]
        sets.append(f"data.columns.options={','.join(series)}")
        replaced = [f"data.columns.{own}" for role, own in roles.items() if own in columns and own != role]
        told = f" (in place of {' and '.join(replaced)})" if replaced else ""
        return f"{' '.join(f'--set {quote(one)}' for one in sets)}{told}"


class _Series:
    """What the answers say of one series of columns."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [name.strip().casefold() for name in names]
        self._columns = names
        self._rows = 0
        self._texts: Counter[int] = Counter()
        self._letters: Counter[int] = Counter()
        self._by_name: Counter[int] = Counter()
        self._numbered: Counter[int] = Counter()
        self._are_numbers = True
        self._filled: set[str] = set()
        self._counting = RefusedNumbers()
        self._counting.use({"answer": "options"}, ())

    def note(self, answer: str, row: Mapping[str, Any]) -> None:
        options = [str(row[name]).strip() if row[name] is not None else "" for name in self._columns]
        self._filled.update(name for name, value in row.items() if value)
        self._rows += 1
        self._are_numbers = self._are_numbers and all(number_of(option) is not None for option in options if option)
        bare = answer.casefold()
        same = [at for at, option in enumerate(options) if option and option.casefold() == bare]
        if len(same) == 1:
            self._texts[same[0]] += 1
        letter = answer.strip("().").upper()
        if letter in LETTERS[: len(options)]:
            self._letters[LETTERS.index(letter)] += 1
        if bare in self._names:
            self._by_name[self._names.index(bare)] += 1
        if (number := number_of(answer)) is not None and 0 <= number <= len(options):
            self._numbered[number] += 1
            self._counting.note({"answer": number, "options": options})

    def has(self, column: str) -> bool:
        """Whether something stands in a column in some row."""
        return column in self._filled

    def labels(self) -> list[str] | None:
        """Return the settings of labels by which answers name the options; None where they do not."""
        if self._is_told(self._texts) or self._is_told(self._letters):
            return []
        if self._is_told(self._by_name):
            return [f" {setting_of('answer', dict(zip(self._columns, LETTERS, strict=False)))}"]
        if self._is_told(self._numbered) and not self._are_numbers:
            ways = [setting_of("answer", way["answer"]) for way in self._counting.letters({})]
            return [f" {' or '.join(ways)}"] if ways else None
        return None

    def _is_told(self, places: Counter[int]) -> bool:
        return places.total() >= _CERTAIN * self._rows and (len(places) > 1 or self._rows == 1)


def _series_in(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns whose names are lettered or numbered on end, in that order; the longest such series."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        for pattern in _NUMBERED:
            found = pattern.fullmatch(name.strip()) if len(name) <= _LONGEST_NAME else None
            if found:
                beside = tuple(part.casefold() for part in (found[1], *found.groups()[2:]))
                kind = "number" if found[2].isdecimal() else "letter"
                groups.setdefault((kind, *beside), {})[found[2].lower().lstrip("0") or "0"] = name
    best: tuple[str, ...] = ()
    for (kind, *_beside), members in groups.items():
        starts = ("0", "1") if kind == "number" else ("a",)
        for start in starts:
            order = [
                str(int(start) + n) if kind == "number" else "abcdefghij"[n]
                for n in range(min(len(members), len(LETTERS)))
            ]
            if len(members) > max(1, len(best)) and sorted(members, key=lambda mark: (len(mark), mark)) == order:
                best = tuple(members[mark] for mark in order)
    return best
