"""Codes of the International Classification of Diseases: telling them from other labels, and what lies above one."""

import re
from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["are_codes", "are_of_the_ninth", "as_code", "category_of", "hierarchy_of"]

_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?")
_ICD9 = re.compile(r"(?:\d{3}|V\d{2}|E\d{3})(?:\.\d{1,2})?")
_POINTLESS = (re.compile(r"([A-Z]\d[0-9A-Z])([0-9A-Z]{0,4})"), re.compile(r"(\d{3}|V\d{2}|E\d{3})(\d{0,2})"))
"""ICD-10 and ICD-9 without their point: category and the rest. E8859 is either, so the source has to tell."""
_NEARLY_ALL = 0.8
"""Share of the different labels from which they are codes; a slip of the pen among them makes them no words."""
_CHAPTERS = (
    "A00", "C00", "D50", "E00", "F00", "G00", "H00", "H60", "I00", "J00", "K00", "L00", "M00", "N00", "O00", "P00", "Q00",
    "R00", "S00", "U00", "V00", "Z00",
)  # fmt: skip
"""First category of each chapter of ICD-10, in order but for chapter XXII (U), which was added between. Source: WHO."""


def as_code(text: str, *, ninth: bool = False) -> str | None:
    """Return a code in capitals with its point, None for any other text.

    Args:
        text: a code, with its point or without (as MIMIC writes them).
        ninth: whether what may be either is read as ICD-9.

    >>> as_code("j189"), as_code("4280")
    ('J18.9', '428.0')
    """
    code = text.strip().upper().rstrip(".")
    if "." in code:
        return code if _ICD10.fullmatch(code) or _ICD9.fullmatch(code) else None
    for pattern in reversed(_POINTLESS) if ninth else _POINTLESS:
        if found := pattern.fullmatch(code):
            return f"{found[1]}.{found[2]}" if found[2] else found[1]
    return None


def are_codes(labels: Iterable[str]) -> bool:
    """Whether nearly all labels are codes, and some one of them is no mere number."""
    found = set(labels)
    codes = [label for label in found if as_code(label)]
    return len(codes) >= max(1, _NEARLY_ALL * len(found)) and any(not label.strip().isdigit() for label in codes)


def are_of_the_ninth(labels: Iterable[str]) -> bool:
    """Whether codes are of the ninth revision: some begin with a number, as none of the tenth does."""
    return any(label.strip()[:1].isdigit() for label in labels if as_code(label))


def category_of(code: str) -> str:
    """Return the part of a code before its point."""
    return code.partition(".")[0]


def hierarchy_of(code: str) -> frozenset[str]:
    """Return a code with all that lies above it: chapter (of ICD-10), category and each longer beginning.

    >>> sorted(hierarchy_of("J18.9"))
    ['J18', 'J18.9', 'chapter J00']
    """
    category, _point, rest = code.partition(".")
    levels = {category, *(f"{category}.{rest[:size]}" for size in range(1, len(rest) + 1))}
    if _ICD10.fullmatch(category) and not category[0].isdigit():
        levels.add(f"chapter {_CHAPTERS[bisect_right(_CHAPTERS, category) - 1]}")
    return frozenset(levels)
