"""What two texts must agree on whatever their words: what is negated, and the numbers."""

import re
from typing import NamedTuple

from medtune.evaluation.plain_text import normal

__all__ = ["Agreement", "agreement", "negated_words", "numbers"]

_NUMBER = re.compile(
    r"(?<![\w.,])(\d+(?:[.,]\d+)*)\s*(%|(?:mcg|µg|μg|ug|mg|kg|g|ml|dl|mmol|mol|mm|cm|iu|units?|l|hours?|days?|weeks?|months?|years?)"
    r"(?:/(?:kg|dl|ml|l|day|d|h|hour|min))?(?![a-z]))?",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.;:!?\n]|,\s|\bbut\b|\bhowever\b|\balthough\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019]t\b)?")
_BEFORE = frozenset({
    "no", "not", "without", "never", "neither", "nor", "denies", "denied", "denying", "none", "cannot", "lacks", "lack",
    "absence", "free", "negative",
})  # fmt: skip
_AFTER = frozenset({"absent", "excluded", "denied", "unlikely"})
_REACH = 5
_EMPTY_WORDS = frozenset({
    "a", "an", "the", "of", "for", "to", "in", "on", "at", "by", "with", "and", "or", "is", "are", "was", "were",
    "be", "been", "has", "have", "had", "do", "does", "did", "any", "other", "there", "it", "this", "that", "he",
    "she", "they", "patient", "evidence", "sign", "signs",
})  # fmt: skip
_KEPT = frozenset({"evidence", "sign", "signs"})
"""Empty words that still count as negated when nothing else follows: "no evidence"."""


class Agreement(NamedTuple):
    """Whether two texts agree; None where neither says anything of the kind."""

    negation: bool | None
    number: bool | None


def agreement(text: str, reference: str) -> Agreement:
    """Compare a text with its reference.

    Negations agree when no word that both have is negated in one and plain in the other; numbers when both have the same
    ones, with their units.

    >>> agreement("Evidence of fracture, 50 mg.", "No evidence of fracture, 5 mg.")
    Agreement(negation=False, number=False)
    """
    found, wanted = numbers(text), numbers(reference)
    number = None if not found and not wanted else found == wanted
    here, there = negated_words(text), negated_words(reference)
    if not here[0] and not there[0]:
        return Agreement(None, number)
    turned = (here[0] & there[1]) | (there[0] & here[1])
    return Agreement(not turned, number)


def numbers(text: str) -> frozenset[tuple[float, str]]:
    """Return the numbers of a text with their units, empty where there is none.

    >>> sorted(numbers("1,000 IU and 0.50 mg"))
    [(0.5, 'mg'), (1000.0, 'iu')]
    """
    return frozenset((_value(n), unit.lower().rstrip("s")) for n, unit in _NUMBER.findall(normal(text)))


def negated_words(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that a text negates, and those that it has without negation."""
    negated: set[str] = set()
    plain: set[str] = set()
    for clause in _CLAUSE.split(normal(text).lower()):
        found = _WORD.findall(clause)
        inside = _reached(found)
        for place, word in enumerate(found):
            if word not in _BEFORE | _AFTER and (word not in _EMPTY_WORDS or word in _KEPT):
                (negated if place in inside else plain).add(word)
    return frozenset(negated), frozenset(plain - negated)


def _reached(found: list[str]) -> set[int]:
    """Return the places of words that a cue negates: the next ones of some, the ones before of others."""
    inside: set[int] = set()
    for place, word in enumerate(found):
        if word in _BEFORE or word.endswith(("n't", "n\u2019t")):
            inside |= {*range(place + 1, place + 1 + _REACH)}
        if word in _AFTER:
            inside |= {*range(max(0, place - _REACH), place)}
    return inside


def _value(written: str) -> float:
    """Read a number: a comma before three digits parts thousands, any other a fraction."""
    plain = re.sub(r",(?=\d{3}(?:\D|$))", "", written).replace(",", ".")
    whole, *rest = plain.split(".")
    return float(f"{whole}.{''.join(rest)}" if rest else whole)
