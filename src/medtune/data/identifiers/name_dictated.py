"""Finds names and towns in lines that were dictated: no capitals, no punctuation."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_ends import PARTICLES
from medtune.data.identifiers.text import Text
from medtune.data.identifiers.vocabulary import known_names, not_names, words_of

__all__ = ["find_dictated"]

_TITLES = words_of("dictated titles")
"""Words in small letters that a name must stand behind."""
_CUES = words_of("dictated cues")
"""Words that a name may stand behind."""
_STOPS = words_of("dictated stops")
_TOWNS = frozenset({"in", "aus", "from", "à", "en", "of"})
_BEFORE_TOWN = words_of("dictated before towns")
_FEWEST, _SHARE = 5, 6
"""Words of a line, and one in how many may begin with a capital."""
_MOST = 4
_MARKS = re.compile(r"[,;:!?]|[.] ")
_LINE = re.compile(r"[^\n]+")


def find_dictated(seen: Text) -> Iterator[Finding]:
    """Yield names behind titles, patients and kin, and the towns behind those, in lines without capitals."""
    i = 0
    for line in _LINE.finditer(seen.text):
        first = i
        while i < len(seen.words) and seen.starts[i] < line.end():
            i += 1
        capitals = 0 if seen.is_small else sum(word[0].isupper() for word in seen.words[first:i])
        is_bare = not _MARKS.search(line[0])
        if is_bare and i - first >= _FEWEST and capitals * _SHARE <= i - first:
            yield from _in_line(seen, first, i)


def _in_line(seen: Text, first: int, last: int) -> Iterator[Finding]:
    i = first
    while i < last:
        end = _name(seen, i + 1, last, is_sure=seen.folded[i] in _TITLES) if _is_cue(seen, i) else i + 1
        if end > i + 1:
            yield Finding(Kind.NAME, seen.starts[i + 1], seen.ends[end - 1])
        beside = end > i + 1 or seen.folded[i] in _BEFORE_TOWN
        if beside and end + 1 < last and seen.folded[end] in _TOWNS and not _stops(seen, end + 1):
            place = end + 2
            while place < last and seen.before(place) in ("-", "'"):
                place += 1
            yield Finding(Kind.PLACE, seen.starts[end + 1], seen.ends[place - 1])
        i = max(end, i + 1)


def _is_cue(seen: Text, i: int) -> bool:
    return seen.folded[i] in _TITLES or seen.folded[i] in _CUES


def _name(seen: Text, at: int, last: int, *, is_sure: bool) -> int:
    """Return the word behind a name that begins at word ``at``; ``at`` where there is none."""
    end = at
    while end < min(last, at + _MOST) and seen.before(end) in (" ", "-", "'", "’", ". "):
        if seen.folded[end] not in PARTICLES and _stops(seen, end):
            break
        end += 1
    while end > at and seen.folded[end - 1] in PARTICLES:
        end -= 1
    if end == at:
        return at
    ends = end >= last or _stops(seen, end)
    known = any(word in known_names() for word in seen.folded[at:end])
    if ends and (is_sure or known):
        return end
    if known:
        return at + 1 + (at + 1 < end and seen.folded[at + 1] in known_names())
    return at + 1 if is_sure or (ends and end == at + 1) else at


def _stops(seen: Text, i: int) -> bool:
    """Whether a word is none of a name."""
    word = seen.folded[i]
    if len(word) == 1 or word in not_names() or word in _STOPS:
        return True
    return seen.language == "en" and word.endswith(("ing", "ed")) and word not in known_names()
