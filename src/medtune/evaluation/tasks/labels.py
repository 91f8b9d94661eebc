"""Answers out of a closed set of labels: finding the labels in them."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from medtune.errors import DataError
from medtune.evaluation.plain_text import normal
from medtune.evaluation.tasks.mentions import stated

__all__ = ["ANSWER_NAMES", "COPULAS", "FAILURES", "Inventory", "bare_answer"]

FAILURES = frozenset({"invalid_answer", "truncated", "empty"})

_MOST_LABELS = 1000
"""More different answers than this are free text under a wrong task name, unless each is given several times."""
_REPEATED = 3

_SHORT = 60
_FENCE = re.compile(r"^```\w*$")
ANSWER_NAMES = r"answer|antwort|r\u00e9ponse|respuesta|risposta|resposta|antwoord"
"""The word "answer" in the languages whose negations are known, a pattern; Chinese has its own."""
COPULAS = r"is|ist|est|es|\u00e8|\u00e9"
"""The word "is" in these."""
_RIGHT = r"(?:correct|final|best|right|richtige|korrekte|bonne|correcta|corretta|correta|juiste)\s+"
_LEAD_IN = re.compile(
    rf"^(?:#{{1,6}}\s*)?[*_]*(?:(?:(?:the|die|la|a|het)\s+)?(?:{_RIGHT})?(?:{ANSWER_NAMES}|ans\.?|label|class|relation|output)"
    rf"(?:\s+(?:correcta|correcte|corretta|correta))?[*_]*(?:\s+(?:{COPULAS})(?:\s+la)?)?\s*[:=]?[*_]*\s+"
    r"|(?:\u6b63\u786e)?\u7b54\u6848\s*(?:\u662f|\u4e3a)?\s*[:\uff1a]?\s*)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^#{1,6}\s+")
_WRAPPING = " \t\r\n\"'`*_.,;:!\u3002\uff0e\uff0c\uff1b\uff1a"
_BRACKETED = re.compile(r"[(\[]([^()\[\]]*)[)\]]")


class Inventory:
    """The labels that an answer may be, found again whatever their case.

    Args:
        labels: labels as the gold answers spell them; the first spelling of a label is kept, and of an alias its label.
        aliases: other spelling -> label.
        rows: how many rows they come from; None where it is known that they are labels.

    Raises:
        DataError: there are too many to be labels.
    """

    def __init__(
        self, labels: Sequence[str], aliases: Mapping[str, str] | None = None, *, rows: int | None = 0
    ) -> None:
        self._by_key: dict[str, str] = {}
        stands_for = {_key(alias): label for alias, label in (aliases or {}).items()}
        for written in labels:
            label = stands_for.get(_key(written), written)
            self._by_key.setdefault(_key(label), label)
        if rows is not None and len(self._by_key) > max(_MOST_LABELS, rows // _REPEATED):
            raise DataError(
                f"the gold answers hold {len(self._by_key):,} different texts, so they are no labels; score these rows as "
                "another task, such as 'qa'"
            )
        self.labels = sorted(self._by_key.values())
        self.most_words = max((len(label.split()) for label in self.labels), default=0)
        for alias, label in stands_for.items():
            self._by_key.setdefault(alias, self._by_key.get(_key(label), label))

    def find(self, text: str) -> str | None:
        """Return the label that ``text`` is, None when it is none."""
        return self._by_key.get(_key(text))

    def mentioned(self, text: str) -> set[str]:
        """Return the labels that occur in ``text`` as whole words and are not denied; of "bacterial pneumonia" that alone."""
        return {self._by_key[key] for key in stated(_key(text), self._by_key)}


def bare_answer(text: str) -> str:
    """Return an answer without what only wraps it: code fences, blank lines, "Answer:", quotes, emphasis, a full stop.

    An answer of several lines stays as it is, so that a label with an essay behind it is no label.
    """
    return _bare_short(text) if len(text) <= _SHORT else _bare(text)


@lru_cache(maxsize=4096)  # labels are the same ones again and again
def _bare_short(text: str) -> str:
    return _bare(text)


def _bare(text: str) -> str:
    lines = [line for raw in text.split("\n") if (line := raw.strip()) and not _FENCE.match(line)]
    joined = "\n".join(lines).strip(_WRAPPING)
    answer = _HEADING.sub("", _LEAD_IN.sub("", joined, count=1)).strip(_WRAPPING)
    bracketed = _BRACKETED.fullmatch(answer)
    return bracketed[1].strip(_WRAPPING) if bracketed else answer


def _key(text: str) -> str:
    return " ".join(normal(text).split()).casefold()
