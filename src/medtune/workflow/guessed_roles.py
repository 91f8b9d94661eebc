"""Guesses which column is asked, given and answered, by names that such columns often have."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medtune.data.formatters.advice import is_annotated, preference_metadata, suggested_columns
from medtune.data.formatters.answer_texts import is_answer_name, without_answers

__all__ = ["guessed_roles"]

_ROLES: Mapping[str, Sequence[str]] = {
    "question": ("question", "query", "prompt", "instruction", "input", "frage", "problem", "user", "title", "request"),
    "context": ("context", "passage", "abstract", "note", "background", "kontext", "document_text", "article"),
    "answer": ("answer", "response", "output", "completion", "reply", "antwort", "target", "label", "summary", "solution",
               "assistant"),
}  # fmt: skip
"""Role of a question's formatter -> names that a column for it is often given."""
_NO_TEXT = frozenset({"id", "ids", "date", "time", "type", "nr", "no", "number", "index", "score"})


def guessed_roles(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Return role -> column, none where the names say too little, and what to tell of the guess.

    Args:
        columns: of the rows.
        rows: some of them, whose texts tell a label from text, and what holds the answer from what is given.
    """
    columns, row = list(columns), rows[0] if rows else {}
    if is_annotated(columns, row):  # read by an import
        return {}, []
    roles, suggested = _by_words(columns), suggested_columns(columns, row)
    if {"question", "answer"} <= roles.keys() and ("context" in roles or "input" not in suggested):
        return dict(without_answers(roles, rows)), []
    found: dict[str, Any] = {role: column for role, column in suggested.items() if role != column}
    if others := preference_metadata(found, columns):
        found["metadata"] = others
    if "prompt" in found:
        return found, ["no column asks anything: the text alone is the prompt; data.system can say what to do with it"]
    return found, []


def _by_words(columns: Iterable[str]) -> dict[str, str]:
    """Return role -> column: the whole name first, then a word of it. A name with a word such as "id" is no text's."""
    free = {name.strip().lower(): name for name in columns}
    words = {low: set(re.split(r"[^a-z0-9]+", low)) for low in free}
    roles: dict[str, str] = {}
    for whole in (True, False):
        for role, names in _ROLES.items():
            fits = (
                low
                for word in names
                for low in free
                if (low == word or (not whole and word in words[low] and not words[low] & _NO_TEXT))
                and (role == "answer" or not is_answer_name(low))
            )
            if role not in roles and (found := next(fits, None)) is not None:
                roles[role] = free.pop(found)
    return roles
