"""Tells texts that hold the answer, or speak of it, from those that may stand in a prompt."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["AnswerShare", "is_answer_name", "share_of", "without_answers"]

_NAMES = frozenset(
    [
        "answer",
        "answers",
        "output",
        "outputs",
        "response",
        "responses",
        "completion",
        "completions",
        "reply",
        "explanation",
        "explanations",
        "exp",
        "rationale",
        "rationales",
        "reasoning",
        "cot",
        "thought",
        "thoughts",
        "thinking",
        "chosen",
        "rejected",
        "solution",
        "solutions",
        "target",
        "targets",
        "gold",
        "label",
        "labels",
        "prediction",
        "predictions",
        "justification",
        "antwort",
        "begruendung",
        "begründung",
        "erklaerung",
        "erklärung",
    ]
)
"""Words of names that people give to what is answered, or to why."""
_GIVEN = frozenset(
    [
        "context",
        "contexts",
        "passage",
        "passages",
        "abstract",
        "article",
        "document",
        "text",
        "note",
        "report",
        "kontext",
    ]
)
"""Names of texts in which an answer may well be found: that is what is asked of them."""
_SHARED, _FEWEST_WORDS, _LETTERS = 0.6, 4, 4
"""Share of the fewer long words that two wordings of one text have in common, of at least so many words and letters."""
_MOST, _TIMES = 0.5, 2.0
"""Share of the rows whose text holds the answer, and how much more often its own than another row's."""


def is_answer_name(column: str) -> bool:
    """Whether columns that hold an answer, or its explanation, are often called so; a hint beside what stands in them."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column).lower()
    return not _NAMES.isdisjoint(re.split(r"[\W_]+", apart))


class AnswerShare:
    """Counts the rows in which a column's text holds the row's answer, beside those in which it holds another's.

    Args:
        is_given: whether a passage may hold an answer, so that only the same text, or its paraphrase, counts.
    """

    __slots__ = ("_before", "_is_given", "_others", "_own", "_pairs", "_rows")

    def __init__(self, *, is_given: bool = False) -> None:
        self._is_given, self._before = is_given, ""
        self._rows = self._own = self._pairs = self._others = 0

    def note(self, text: str, answer: str) -> None:
        """Take down one row."""
        self._rows += 1
        self._own += self._holds(text, answer)
        if self._before and self._before != answer:
            self._pairs += 1
            self._others += self._holds(text, self._before)
        self._before = answer

    @property
    def tells(self) -> bool:
        """Whether most rows hold their own answer, which chance does not explain."""
        own = self._own / self._rows if self._rows else 0.0
        chance = self._others / self._pairs if self._pairs else 0.0
        return own >= _MOST and own >= _TIMES * chance

    def _holds(self, text: str, answer: str) -> bool:
        ours, theirs = _words(text), _words(answer)
        if not ours or not theirs:
            return False
        if ours == theirs:
            return True
        if not self._is_given and f" {' '.join(theirs)} " in f" {' '.join(ours)} ":
            return True
        long, other = ({word for word in words if len(word) >= _LETTERS} for words in (ours, theirs))
        fewer = max(len(long), len(other)) if self._is_given else min(len(long), len(other))
        return fewer >= _FEWEST_WORDS and len(long & other) >= _SHARED * fewer


def share_of(column: str) -> AnswerShare:
    """Return the counter that goes with a column of this name."""
    return AnswerShare(is_given=column.lower() in _GIVEN)


def without_answers(roles: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return roles without a context whose name, or whose text in most of the rows, is that of an answer."""
    given = {role: column for role, column in roles.items() if role in ("context", "input")}
    answers = [column for role, column in roles.items() if role in ("answer", "output")]
    kept = dict(roles)
    held: Sequence[Mapping[str, Any]] = list(rows)
    for role, column in given.items():
        share = share_of(column)
        for row in held:
            text, answer = row.get(column), row.get(answers[0]) if answers else None
            if isinstance(text, str) and isinstance(answer, str):
                share.note(text, answer)
        if is_answer_name(column) or share.tells:
            del kept[role]
    return kept


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
