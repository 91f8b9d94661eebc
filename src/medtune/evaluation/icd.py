"""Codes of the International Classification of Diseases: telling them from other labels, and what lies above one."""

import re
from bisect import bisect_right
from collections.abc import Iterable

__all__ = ["are_codes", "as_code", "category_of", "hierarchy_of"]

_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
_ICD9 = re.compile(r"(?:\d{3}|V\d{2}|E\d{3})(?:\.\d{1,2})?")
_CHAPTERS = (
    "A00", "C00", "D50", "E00", "F00", "G00", "H00", "H60", "I00", "J00", "K00", "L00", "M00", "N00", "O00", "P00", "Q00",
    "R00", "S00", "U00", "V00", "Z00",
)  # fmt: skip
"""First category of each chapter of ICD-10, in order but for chapter XXII (U), which was added between. Source: WHO."""


def as_code(text: str) -> str | None:
    """Return a code in capitals with its point, None for any other text.

    >>> as_code("j189")
    'J18.9'
    """
    code = text.strip().upper().rstrip(".")
    if _ICD10.fullmatch(code):
        bare = code.replace(".", "")
        return f"{bare[:3]}.{bare[3:]}" if len(bare) > 3 else bare  # noqa: PLR2004 - a category has three
    return code if _ICD9.fullmatch(code) else None


def are_codes(labels: Iterable[str]) -> bool:
    """Whether all labels are codes, and some one of them is no mere number."""
    found = list(labels)
    return (
        bool(found) and all(as_code(label) for label in found) and any(not label.strip().isdigit() for label in found)
    )


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
