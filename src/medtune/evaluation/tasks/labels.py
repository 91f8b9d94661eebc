"""Answers out of a closed set of labels: finding the labels in them."""

import re
from collections.abc import Mapping, Sequence

from medtune.errors import DataError
from medtune.evaluation.plain_text import normal

__all__ = ["FAILURES", "Inventory", "bare_answer"]

FAILURES = frozenset({"invalid_answer", "truncated", "empty"})

_MOST_LABELS = 1000
"""More different answers than this are free text under a wrong task name, unless each is given several times."""
_REPEATED = 3

_FENCE = re.compile(r"^```\w*$")
_LEAD_IN = re.compile(
    r"^(?:###\s*)?(?:the\s+)?(?:correct\s+|final\s+)?(?:answer|label|class|relation|output)(?:\s+is)?\s*[:=]?\s+",
    re.IGNORECASE,
)
_WRAPPING = " \t\r\n\"'`*_.,;:!"
_BRACKETED = re.compile(r"[(\[]([^()\[\]]*)[)\]]")


class Inventory:
    """The labels that an answer may be, found again whatever their case.

    Args:
        labels: labels as the gold answers spell them; the first spelling of a label is kept.
        aliases: other spelling -> label.
        rows: how many rows they come from; None where it is known that they are labels.

    Raises:
        DataError: there are too many to be labels.
    """

    def __init__(
        self, labels: Sequence[str], aliases: Mapping[str, str] | None = None, *, rows: int | None = 0
    ) -> None:
        self._by_key: dict[str, str] = {}
        for label in labels:
            self._by_key.setdefault(_key(label), label)
        if rows is not None and len(self._by_key) > max(_MOST_LABELS, rows // _REPEATED):
            raise DataError(
                f"the gold answers hold {len(self._by_key):,} different texts, so they are no labels; score these rows as "
                "another task, such as 'qa'"
            )
        self.labels = sorted(self._by_key.values())
        for alias, label in (aliases or {}).items():
            self._by_key.setdefault(_key(alias), label)

    def find(self, text: str) -> str | None:
        """Return the label that ``text`` is, None when it is none."""
        return self._by_key.get(_key(text))

    def mentioned(self, text: str) -> set[str]:
        """Return the labels that occur in ``text`` as whole words."""
        lowered = _key(text)
        return {label for key, label in self._by_key.items() if _holds_word(lowered, key)}


def bare_answer(text: str) -> str:
    """Return an answer without what only wraps it: code fences, blank lines, "Answer:", quotes, emphasis, a full stop.

    An answer of several lines stays as it is, so that a label with an essay behind it is no label.
    """
    lines = [line for raw in text.split("\n") if (line := raw.strip()) and not _FENCE.match(line)]
    joined = "\n".join(lines).strip(_WRAPPING)
    answer = _LEAD_IN.sub("", joined, count=1).strip(_WRAPPING)
    bracketed = _BRACKETED.fullmatch(answer)
    return bracketed[1].strip(_WRAPPING) if bracketed else answer


def _key(text: str) -> str:
    return " ".join(normal(text).split()).casefold()


def _holds_word(text: str, word: str) -> bool:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before, after = text[start - 1 : start], text[end : end + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        start = text.find(word, start + 1)
    return False
