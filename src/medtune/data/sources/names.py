"""Column names: which may be shown (a file without a header line has a row in their place), and which hold lists."""

import re
from collections.abc import Iterable

__all__ = ["LIST_COLUMNS", "is_plain", "listed"]

LIST_COLUMNS = frozenset(
    {"messages", "conversations", "options", "choices", "tokens", "ner_tags", "prompt", "completion"}
)
"""Columns of formatters in which a list is one value, not several."""

_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]{0,39}")
"""A column name as people give them. Anything else may be a row: a CSV file without a header has its first one there."""
_PLAIN_PATH = re.compile(rf"{_PLAIN_NAME.pattern}(\[\])*(\.({_PLAIN_NAME.pattern}|\*)(\[\])*)*")


_MOST_WORDS = 4
_HEADER_WORDS = frozenset(
    [
        "patient",
        "doctor",
        "physician",
        "nurse",
        "medical",
        "clinical",
        "case",
        "past",
        "family",
        "social",
        "present",
        "chief",
        "main",
        "final",
        "full",
        "short",
        "long",
        "free",
        "history",
        "complaint",
        "question",
        "questions",
        "query",
        "answer",
        "answers",
        "response",
        "reason",
        "visit",
        "note",
        "notes",
        "report",
        "text",
        "summary",
        "findings",
        "impression",
        "diagnosis",
        "diagnoses",
        "treatment",
        "therapy",
        "medication",
        "medications",
        "plan",
        "assessment",
        "discharge",
        "admission",
        "procedure",
        "context",
        "input",
        "output",
        "instruction",
        "explanation",
        "rationale",
        "comment",
        "comments",
        "description",
        "name",
        "id",
        "number",
        "code",
        "type",
        "category",
        "label",
        "source",
        "date",
        "time",
        "age",
        "sex",
        "gender",
        "specialty",
        "department",
        "section",
        "title",
        "abstract",
        "document",
        "and",
        "of",
        "the",
    ]
)
"""Words of names such as "Patient History"; anything else with a blank in it may be a row."""


def is_plain(path: str) -> bool:
    """Whether a column's name, or the path to a value in it, looks like one that people give."""
    return _PLAIN_PATH.fullmatch(path) is not None or _is_phrase(path)


def _is_phrase(name: str) -> bool:
    """Whether a name of a few words is made of words that columns are called by, and so tells of no person."""
    words = name.lower().split(" ")
    return 1 < len(words) <= _MOST_WORDS and _HEADER_WORDS.issuperset(words)


def listed(columns: Iterable[object]) -> str:
    """List column names, those only counted that look like text."""
    columns = list(columns)
    plain = sorted(c for c in columns if isinstance(c, str) and (_PLAIN_NAME.fullmatch(c) or _is_phrase(c)))
    others = len(columns) - len(plain)
    shown = ", ".join(f"'{c}'" for c in plain)
    if not others:
        return shown or "(there are none)"
    hidden = f"{others} whose names look like text (is there a header line?)"
    return f"{shown} and {hidden}" if shown else hidden
