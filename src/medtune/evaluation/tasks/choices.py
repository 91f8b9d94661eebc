r"""Reads which of the listed options an answer names, as people write it: "b", "(B)", "B, because", "\boxed{B}", its text."""

import re
from collections.abc import Mapping
from functools import lru_cache

from medtune.evaluation.plain_text import normal
from medtune.evaluation.tasks.labels import bare_answer

__all__ = ["choice_in", "options_in", "says_option"]

_LISTED = re.compile(r"^[ \t]*[(\[]?([A-Za-z]|\d{1,2})[)\].:][ \t]*(\S.*)$", re.MULTILINE)
_INLINE = re.compile(
    r"(?:^|(?<=\s))[(\[]?([A-Za-z]|\d{1,2})[)\].:]\s+(\S.*?)(?=\s+[(\[]?(?:[A-Za-z]|\d{1,2})[)\].:]\s|\s*$)"
)
_SENTENCE = re.compile(r"\boption\s+\(?([a-z]|\d{1,2})\)?\s+is\s+correct\b", re.IGNORECASE)
_MARK = r"\(?([A-Za-z]|\d{1,2})\)?"
_ALONE = re.compile(rf"(?:(?i:option|choice|answer)\s+)?{_MARK}(?:\s*[.):]\s.*)?", re.DOTALL)
_SEVERAL = re.compile(r"\s*(?:,|;|&|/|\band\b)\s*")
_BOXED = re.compile(r"\\boxed\s*\{\s*(?:\\text\s*\{)?\s*\(?([A-Za-z]|\d{1,2})\)?[.:)]?[^{}]*\}")
_SAID = re.compile(
    rf"\b(?:answer|option|choice|choose|pick|select)\b(?:\s+(?:is|would\s+be|must\s+be|should\s+be|option|choice|letter|:))*\s*[:=]?\s*"
    rf"\**{_MARK}(?![\w'-])",
    re.IGNORECASE,
)
_LEADING = re.compile(rf"{_MARK}(?:\s*[,.:;)-]|\s+(?:because|since|as|is)\b)", re.IGNORECASE)
_BRACKETED = re.compile(r"\(([A-Z])\)")
_DENIED = re.compile(
    r"\b(?:not|n't|isn't|never|except|excluding|neither|nor|rather\s+than|instead\s+of|rules?\s+out|ruled\s+out)\s+"
    r"(?:the\s+)?(?:answer\s+|option\s+|choice\s+)?(?:is\s+)?(?:\([A-Za-z]\)|[A-Z](?![\w'])|\d{1,2}\b)",
    re.IGNORECASE,
)
_DENYING = re.compile(
    r"\b(?:not|no|never|except|neither|nor|without|than|instead of)\W+(?:\w+\W+){0,2}$", re.IGNORECASE
)


@lru_cache(maxsize=8)
def options_in(question: str) -> Mapping[str, str]:
    """Return the options that a question lists: mark -> text, letters in capitals; empty where it lists none.

    Marks count from A, a, 1 or 0 on, one after the other, each on its line or in one line; of several lists the last.

    >>> dict(options_in("Which? 1. x 2. y"))
    {'1': 'x', '2': 'y'}
    """
    return _run(_LISTED.findall(question)) or _run(_INLINE.findall(question.rstrip()))


def choice_in(text: str, options: Mapping[str, str], *, lenient: bool = False) -> str | None:
    r"""Return the mark of the option that ``text`` names, several joined by commas; None when it names none.

    Args:
        text: an answer.
        options: of the question; where it lists none, A to J are taken.
        lenient: whether the option may stand in a sentence: "B, because", "\boxed{B}", "the answer is B", or its text.
    """
    known = options or dict.fromkeys("ABCDEFGHIJ", "")
    found = _plain(normal(text), known)
    return found if found is not None or not lenient else _within(normal(text), known)


def says_option(text: str) -> bool:
    """Whether a text says "option X is correct" of some option."""
    return _SENTENCE.search(text) is not None


def _run(found: list[tuple[str, str]]) -> dict[str, str]:
    """Return the last run of marks that count up from a first one."""
    best: dict[str, str] = {}
    current: dict[str, str] = {}
    for raw, told in found:
        mark = raw.upper()
        if current and mark == _next(next(reversed(current))):
            current[mark] = told.strip()
        else:
            current = {mark: told.strip()} if mark in ("A", "1", "0") else {}
        best = current if len(current) > 1 else best
    return best


def _next(mark: str) -> str:
    return str(int(mark) + 1) if mark.isdigit() else chr(ord(mark) + 1)


def _plain(text: str, known: Mapping[str, str]) -> str | None:
    """Read an answer that is an option and nothing else."""
    if sentences := _SENTENCE.findall(text):
        return _one({mark.upper() for mark in sentences} & known.keys())
    bare = bare_answer(text)
    if (alone := _ALONE.fullmatch(bare)) and alone[1].upper() in known:
        return str(alone[1]).upper()
    marks = [part.strip(" ().").upper() for part in _SEVERAL.split(bare)]
    if len(marks) > 1 and all(mark in known for mark in marks):
        return ",".join(sorted(set(marks)))
    same = [mark for mark, told in known.items() if told and _key(told) == _key(bare)]
    return same[0] if len(same) == 1 else None


def _within(text: str, known: Mapping[str, str]) -> str | None:
    """Read an option out of a sentence; what is denied is not taken."""
    if boxed := _BOXED.findall(text):
        return _one({boxed[-1].upper()} & known.keys())
    kept = _DENIED.sub(" ", text)
    found = [(each[1], kept[each.end() :]) for each in _SAID.finditer(kept)]
    said = [mark.upper() for mark, after in found if mark.upper() in known and not _is_article(mark, after)]
    if said:
        return said[-1]
    if (leading := _LEADING.match(bare_answer(kept))) and leading[1].upper() in known:
        return leading[1].upper()
    if bracketed := {mark for mark in _BRACKETED.findall(kept) if mark in known}:
        return _one(bracketed)
    lowered = _key(text)
    return _one({mark for mark, told in known.items() if told and _states(lowered, _key(told))})


def _is_article(mark: str, after: str) -> bool:
    """Whether a letter is the word "a", or the word "I", in a sentence that goes on."""
    return mark in ("a", "I") and re.match(r"\s+[A-Za-z]", after) is not None


def _states(text: str, told: str) -> bool:
    """Whether a text has an option's words, and denies them nowhere."""
    places = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(told)}(?!\w)", text)]
    return bool(places) and not any(_DENYING.search(text[:place]) for place in places)


def _one(marks: set[str]) -> str | None:
    return marks.pop() if len(marks) == 1 else None


def _key(text: str) -> str:
    return " ".join(normal(text).casefold().split()).strip(" .,;:")
