"""Finds where a name ends that begins with a word."""

import re

from medtune.data.identifiers.text import Text
from medtune.data.identifiers.vocabulary import given_names, known_names, not_names, surnames, words_of

__all__ = ["GERMAN_NOUN", "PARTICLES", "is_near", "name_end"]

PARTICLES = words_of("particles")
"""Words inside of names, such as "von" and "de"."""
GERMAN_NOUN = re.compile(
    r"(?:ung|ungen|heit|keit|schaft|tion|tionen|itis|ose|osen|ie|ien|schmerz|schmerzen|therapie|sucht|werte?|befund|druck|kranke|krankheit|infarkt|insuffizienz|medikation|gabe|"
    r"aufnahme|entlassung|kontrolle|untersuchung|tablette|tabletten|zentrum|station|ismus|enz|anz|ik|ität|om|ome|ur|uren|ion)$"
)
"""Endings of German nouns that are no names."""
_GAPS = frozenset({" ", "  ", "-", "'", "’", ". ", ".", "\u00a0", "-\n", "\n"})
_ABBREVIATED = frozenset({"st", "mc", "jr", "hr", "fr", "frl"})
_ENDS = re.compile(r"[ ]{0,3}(?:[,\n(|]|$|[ ]{2}|\d)|\sum\s|\sat\s\d")
_MOST_WORDS, _WIDEST = 9, 4
_COMMA_BY = 2
"""Words of a surname before a comma and the given name."""


def is_near(gap: str) -> bool:
    """Whether a name may stand behind a title with this between them."""
    if len(gap) > _WIDEST or any(c in ":;!?)=,0123456789" for c in gap):
        return False
    return gap.count(".") < 2 and gap.count("\n") < 2


def name_end(seen: Text, first: int, *, lines: bool = False) -> int | None:
    """Return where a name ends that begins with word ``first``; None where there is none.

    Args:
        seen: the text.
        first: number of the word.
        lines: whether a form tells that it is a name, so that "surname, given name" is one and rarer words are taken.
    """
    words, folded, last, at = seen.words, seen.folded, None, first
    while at < len(words) and at - first < _MOST_WORDS:
        if at > first and not _goes_on(seen, first, last, at, lines):
            break
        if folded[at] in PARTICLES and (at == first or words[at].islower() or len(words[at]) > 1):
            last = at if words[at][0].isupper() and folded[at] not in not_names() and at > first else last
        elif len(words[at]) == 1 and words[at].isupper():
            if at == first and not seen.between(at).startswith((".", " ", "-", "'", "’")):
                break
            last = at if last is not None else last
        elif _is_part(seen, at, last):
            last = at
        else:
            break
        at += 1
    if last is None:
        initials = words[first:at]
        return (
            seen.ends[at - 1] + 1 if len(initials) > 1 and all(len(w) == 1 and w.isupper() for w in initials) else None
        )
    end = seen.ends[last]
    return end + 1 if len(words[last]) == 1 and seen.text[end : end + 1] == "." else end


def _is_part(seen: Text, at: int, last: int | None) -> bool:
    """Whether a word with a capital may be a part of a name."""
    word = seen.folded[at]
    if last is not None and seen.between(at - 1) == "-" and len(word) > 1:
        return True  # Ji-yeon
    if not seen.words[at][0].isupper() or (word in not_names() and word not in surnames()[1]):
        return False
    further = seen.language == "de" and last is not None and word not in known_names()
    return not (further and GERMAN_NOUN.search(word))


def _goes_on(seen: Text, first: int, last: int | None, at: int, lines: bool) -> bool:
    """Whether a name goes on with word ``at``, by what stands between and whether the word is known."""
    gap, word = seen.between(at - 1), seen.folded[at]
    comma = gap in (", ", ",", ",\n") and last == at - 1 and at - first <= _COMMA_BY
    comma = comma and (lines or word in given_names()[1]) and word not in not_names()
    if gap not in _GAPS and not comma:
        return False
    if seen.is_small and last is not None and not (comma or lines) and _is_doubtful(seen, at, gap):
        return False
    known = word in surnames()[1] and word not in not_names()
    if "\n" in gap and not (gap in ("\n", "-\n", ",\n") and (comma or known)):
        return False
    return "." not in gap or len(seen.words[at - 1]) == 1 or seen.folded[at - 1] in _ABBREVIATED


def _is_doubtful(seen: Text, at: int, gap: str) -> bool:
    """Whether a word of a text without capitals is rather the next word than a part of the name."""
    if len(seen.words[at]) == 1 or seen.folded[at] in known_names() or gap == "-":
        return False
    if at + 1 < len(seen.words) and seen.folded[at + 1] in not_names() and seen.between(at) == " ":
        return False
    return seen.folded[at - 1] not in PARTICLES and not _ENDS.match(seen.text, seen.ends[at])
