"""Finds in equal texts of a row the same: an option, the answer that repeats it, and a cell of a table stay equal when masked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.vocabulary import not_names

__all__ = ["Leaf", "found_alike"]

_AROUND = " \t\r\n.,;:!?()\"'"
"""Characters around a text that do not make it another one."""
_SHORTEST = 4
_FEWEST_DIGITS = 5


class Leaf(NamedTuple):
    """A text, number, date or list of tokens of a row.

    Attributes:
        column: where it stands.
        value: it.
        text: as the rules read it.
        findings: what was found there, in order and apart.
    """

    column: str
    value: Any
    text: str
    findings: Sequence[Finding]


def found_alike(leaves: Sequence[Leaf]) -> list[Leaf]:
    """Return the leaves, each with what was found in an equal one, and with what is the whole of another one."""
    if not any(leaf.findings for leaf in leaves):
        return list(leaves)
    told: dict[str, list[Finding]] = {}
    whole: dict[str, Kind] = {}
    for leaf in leaves:
        for start, end in _units(leaf):
            inside = [f for f in leaf.findings if start <= f.start and f.end <= end]
            if not inside:
                continue
            unit = leaf.text[start:end]
            told.setdefault(unit.casefold(), []).extend(
                f._replace(start=f.start - start, end=f.end - start) for f in inside
            )
            if (inside[0].start, inside[-1].end) == (start, end) and len(inside) == 1 and _is_telling(unit):
                whole[unit] = inside[0].kind
    return [leaf._replace(findings=_joined([*leaf.findings, *_again(leaf, told, whole)])) for leaf in leaves]


def _again(leaf: Leaf, told: Mapping[str, Sequence[Finding]], whole: Mapping[str, Kind]) -> Iterator[Finding]:
    for start, end in _units(leaf):
        for found in told.get(leaf.text[start:end].casefold(), ()):
            yield found._replace(start=start + found.start, end=start + found.end)
    if whole:
        longest_first = sorted(map(re.escape, whole), key=len, reverse=True)
        for again in re.finditer(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", leaf.text):
            yield Finding(whole[again[0]], again.start(), again.end())


def _units(leaf: Leaf) -> Iterator[tuple[int, int]]:
    """Yield where what is compared begins and ends: the whole leaf, or each token of a list."""
    at = 0
    for part in cast("list[str]", leaf.value) if isinstance(leaf.value, list) else [leaf.text]:
        inner = part.strip(_AROUND)
        if inner:
            start = at + part.index(inner)
            yield start, start + len(inner)
        at += len(part) + 1


def _is_telling(text: str) -> bool:
    """Whether a text can be looked for within others: no word of the language, and no small number."""
    if any(map(str.isdecimal, text)):
        return sum(map(str.isdecimal, text)) >= _FEWEST_DIGITS
    return len(text) >= _SHORTEST and text[0].isupper() and text.casefold() not in not_names()


def _joined(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in order, those that overlap as one."""
    joined: list[Finding] = []
    for found in sorted(findings, key=lambda each: (each.start, -each.end)):
        if joined and found.start < joined[-1].end:
            joined[-1] = joined[-1]._replace(end=max(joined[-1].end, found.end))
        else:
            joined.append(found)
    return joined
