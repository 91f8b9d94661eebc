"""Tells names that a disease, sign, method, study or instrument bears."""

import re

from medtune.data.identifiers.text import Text
from medtune.data.identifiers.vocabulary import given_names, words_of

__all__ = ["METHODS", "METHOD_BEFORE", "is_eponym"]

METHODS = words_of("methods")
"""Words that make a method, study or disease of the place or person before them."""
METHOD_BEFORE = words_of("method before")
_AFTER = METHODS | words_of("eponym after")
_BEFORE = words_of("eponym before")
_BETWEEN = words_of("eponym between")
"""Words that may stand between a name and what bears it."""
_JOINS = frozenset({"de", "d", "du", "des", "von", "of", "la", "del", "le"})
_SCALE = re.compile(r"\s(?:\d{1,2}(?![\d./-])|[A-C]\d?\b|[IV]{1,3}\b|≥|>|=|<)|-[A-Z]?\d")
"""A grade or score behind a name, which then is a scale's."""
_ET_AL = re.compile(r",?\s(?:et al|et\scoll|u\. ?a\.|y cols?|und Mitarb)|\s(?:[A-Z]{1,2},\s)+|,?\s\(?(?:19|20)\d\d")
_NEAR = 2
"""Characters between words that stand next to each other."""


def is_eponym(seen: Text, first: int, last: int) -> bool:
    """Whether something bears the name of words ``first`` to ``last``."""
    text, behind = seen.text, seen.text[seen.ends[last] : seen.ends[last] + 5]
    graded = first != last and len(seen.words[last]) == 1 and behind[:1].isdecimal()  # Child-Pugh A6
    whole = first != last and seen.folded[first] in given_names()[0] and seen.between(first) == " "
    if graded or (not whole and (_SCALE.match(behind) or _ET_AL.match(text, seen.ends[last]))):
        return True
    if first and seen.folded[first - 1] == "st" and behind.startswith(("'s", "’s")):  # St. John's wort
        return True
    return _bears_it(seen, last) or _is_borne(seen, first)


def _bears_it(seen: Text, last: int) -> bool:
    """Whether a word for such a thing stands behind."""
    folded, count, after = seen.folded, len(seen.folded), last + 1
    if after < count and folded[after] == "s" and seen.between(last) in ("'", "’"):
        after += 1
    while after < count and seen.between(after - 1) in ("-", "–", "/") and folded[after] not in _AFTER:
        if not seen.words[after][0].isupper():
            break
        after += 1  # Charcot-Marie-Tooth
    if after >= count or len(seen.between(after - 1)) > _NEAR:
        return False
    if folded[after] in _AFTER or folded[after].rstrip("s") in _AFTER:
        return True
    further = after + 1 < count and "." not in seen.between(after) and folded[after + 1] in _AFTER
    return further and folded[after] in _BETWEEN and seen.between(after - 1) == " "


def _is_borne(seen: Text, first: int) -> bool:
    """Whether a word for such a thing stands before, as in syndrome de la."""
    before = first - 1
    while before >= 0 and seen.folded[before] in _JOINS and first - before <= _NEAR + 1:
        before -= 1
    if before < 0 or seen.folded[before] not in _BEFORE:
        return False
    return "." not in seen.text[seen.ends[before] : seen.starts[first]]
