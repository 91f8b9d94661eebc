"""Finds names behind a title, a label, a greeting, kin, or an office."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from medtune.data.identifiers.eponyms import is_eponym
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_ends import GERMAN_NOUN, PARTICLES, is_near, name_end
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import clear_names, known_names, not_names, plain, surnames, words_of

__all__ = ["KIN", "LABELS", "TITLED", "behind_cues", "behind_titles"]

_TITLES = words_of("titles")
_SHORT_TITLES = words_of("short titles")
"""Titles that are an initial or a word as well, so that a point must follow, or a capital word at once."""
_SURE_TITLES = words_of("sure titles")
"""Titles behind which a name may stand in small letters."""
_DEGREES = words_of("names degrees")
TITLED = _TITLES | _DEGREES
LABELS = words_of("names labels") | {plain(word) for word in words_of("names labels") if len(word) > 5}
"""Words that a colon and then a name stand behind, in forms."""
_NAME = frozenset({"name", "surname", "nachname", "nom", "nombre", "apellido"})
_IS = frozenset({"is", "was", "ist", "war", "lautet", "est", "es", "era"})
"""What stands between the word for a name and the name, in a sentence."""
_GREETINGS = words_of("greetings")
_CLOSINGS = words_of("closings")
_CALLED = words_of("called")
KIN = words_of("kin")
_OFFICES = words_of("offices")
_GERMAN_ROLES = words_of("german roles")
_THANKS = words_of("thanks")
_NAME_LABELS = words_of("name labels")
"""Labels behind which nothing but a name stands."""
_STRONG = words_of("person roles")
_DONE = words_of("done by")
_ACTING = frozenset({"by", "par", "por", "durch"})
_WITH = words_of("with")
_LIVING = words_of("living")
_FUNCTION_WORDS = words_of("function words")
_ROLES = words_of("roles")
"""Short names of offices, in capitals."""
_MOST_TITLES = 8
"""Titles in a row: a limit keeps texts of nothing else from taking their square in time."""
_OF_ILLNESS = frozenset(
    [
        "has",
        "had",
        "have",
        "with",
        "and",
        "or",
        "is",
        "was",
        "are",
        "were",
        "died",
        "hat",
        "hatte",
        "ist",
        "war",
        "mit",
        "und",
        "oder",
        "a",
        "eu",
        "est",
        "avec",
        "tiene",
        "tuvo",
        "con",
        "es",
    ]
)
"""Words between kin and an illness rather than a name."""
_CAPITAL_TITLES = frozenset({"m", "d", "me", "fr", "hr", "mm", "pr", "hon", "sir"})
"""Titles that are a word in small letters."""
_DOTTED_TITLES = frozenset({"m", "d", "pat", "pt"})
_CUES = LABELS | _NAME | _GREETINGS | _CLOSINGS | _CALLED | KIN | _OFFICES | _GERMAN_ROLES | _ROLES
_LATER_COLON = re.compile(r"(?:[ ][^\W\d_][\w'’.-]{0,20}){1,4}[ ]?:[ ]{0,3}")
"""What follows a label of several words up to its colon: médecin du travail :"""
_FIELD_ENDS = re.compile(r"[ ]{0,3}(?:[;,/|]|\n|$)")
_COLON = re.compile(
    r"\"\s{0,2}:\s{0,2}\"?|[^\S\n]{0,2}(?:[:=|]|\.{3,}|…|/|\(s\)\s?:)[\s|]{0,4}[*_]{0,2}|\s?:\s{0,12}|[ ]?[.]{2,40}[ :]{0,3}"
)
_AT_TITLES = cue(_TITLES)
_AT_CUES = cue(_CUES)


def behind_titles(seen: Text) -> Iterator[Finding]:
    """Yield what stands behind a title."""
    for i in seen.at(_AT_TITLES):
        word = seen.folded[i]
        if word in _TITLES and _is_title(seen, i):
            yield from _titled(seen, i)


def _is_title(seen: Text, i: int) -> bool:
    """Whether a title is meant: some are an initial, a scale or a word as well."""
    word, gap = seen.folded[i], seen.between(i)
    if seen.words[i][0].islower() and (not seen.words[i].islower() or word in _CAPITAL_TITLES):  # mRS is a scale
        return False
    if word in _DOTTED_TITLES and not gap.startswith((". ", ".\n", ".", "ª")):
        return False
    return word not in _SHORT_TITLES or word in ("dr", "mr", "ms", "sr") or gap.startswith((".", "ª", " "))


def _titled(seen: Text, i: int) -> Iterator[Finding]:
    words, folded, at = seen.words, seen.folded, i + 1
    most = min(len(words), i + _MOST_TITLES)
    while at < most and (folded[at] in _DEGREES or folded[at] in ("dr", "prof")) and is_near(seen.between(at - 1)):
        at += 1
    if at >= len(words) or not is_near(seen.between(at - 1)):
        return
    end = name_end(seen, at)
    if end is not None:
        yield Finding(Kind.NAME, seen.starts[at], end)
    elif (
        folded[i] in _SURE_TITLES
        and words[at].islower()
        and folded[at] in known_names()
        and folded[at] not in not_names()
    ):
        further = at + 1 < len(words) and seen.between(at) in (" ", "-")
        more = further and words[at + 1].islower() and folded[at + 1] in surnames()[0]
        yield Finding(Kind.NAME, seen.starts[at], seen.ends[at + 1 if more else at])


def behind_cues(seen: Text) -> Iterator[Finding]:
    """Yield what stands behind a label, a greeting, a closing line, kin or an office."""
    known = known_names()
    for i in seen.at(_AT_CUES):
        word = seen.folded[i]
        if word not in _CUES or i + 1 >= len(seen.words):
            continue
        gap = seen.between(i)
        if word in LABELS and _COLON.fullmatch(gap):
            yield from _labelled_name(seen, i + 1, known, is_sure=word in _NAME_LABELS)
        elif word in LABELS and (later := _LATER_COLON.match(seen.text, seen.ends[i])):
            at = bisect_left(seen.starts, later.end())
            if at < len(seen.words) and seen.starts[at] == later.end():
                yield from _labelled_name(seen, at, known)
        elif word in _NAME and gap == " " and seen.folded[i + 1] in _IS and seen.between(i + 1) == " ":
            yield from _labelled_name(seen, i + 2, known)
        elif len(gap) <= 6 and _may_begin(seen, i + 1):
            yield from _cued_name(seen, i, gap, known)
        elif (
            word in KIN
            and i + 2 < len(seen.words)
            and seen.words[i + 2][0].isupper()
            and seen.between(i + 1) in (" ", ", ", "; ")
            and gap == " "
            and seen.folded[i + 1] not in _OF_ILLNESS
        ):
            yield from _cued_name(seen, i, gap, known, further=1)


def _labelled_name(seen: Text, at: int, known: frozenset[str], *, is_sure: bool = False) -> Iterator[Finding]:
    at = _after_titles(seen, at)
    end = name_end(seen, at, lines=True) if at < len(seen.words) else None
    if end is None:
        if at < len(seen.words) and seen.folded[at] in known and seen.folded[at] not in not_names():
            more = at + 1 < len(seen.words) and seen.between(at) in (" ", ", ", "-") and seen.folded[at + 1] in known
            yield Finding(Kind.NAME, seen.starts[at], seen.ends[at + 1 if more else at])
        return
    parts = _parts(seen, at, end)
    alone = is_sure or (_FIELD_ENDS.match(seen.text, end) is not None and not GERMAN_NOUN.search(parts[-1]))
    if any(part in known for part in parts) or (len(parts) <= 5 and (seen.language != "de" or len(parts) > 1 or alone)):
        yield Finding(Kind.NAME, seen.starts[at], end)


def _may_begin(seen: Text, i: int) -> bool:
    """Whether a name may begin with a word: it has a capital, or is a particle before one."""
    if seen.words[i][0].isupper():
        return True
    return seen.folded[i] in PARTICLES and any(word[0].isupper() for word in seen.words[i + 1 : i + 3])


def _cued_name(seen: Text, i: int, gap: str, known: frozenset[str], further: int = 0) -> Iterator[Finding]:
    """Yield the name behind cue ``i``, of which ``further`` small words stand between."""
    at = _after_titles(seen, i + 1 + further)
    end = name_end(seen, at, lines=seen.folded[i] in _CLOSINGS) if at < len(seen.words) else None
    if end is None:
        return
    parts = _parts(seen, at, end)
    listed = any(part in known for part in parts)
    if _is_person(seen, i, at, gap, parts, listed) or (seen.folded[i] in _CLOSINGS and _closes(seen, gap, end, listed)):
        yield Finding(Kind.NAME, seen.starts[at], end)


def _closes(seen: Text, gap: str, end: int, listed: bool) -> bool:
    """Whether a name stands alone under a closing line."""
    alone = not seen.text[end : end + 3].strip(" ,|-/") or seen.text[end : end + 1] in ",|(\n"
    return ("\n" in gap or gap.startswith((",", ":"))) and (listed or alone)


def _is_person(seen: Text, i: int, at: int, gap: str, parts: Sequence[str], listed: bool) -> bool:
    """Whether what stands behind a cue is a name: the surer the cue, the less must be known of the words."""
    word, german = seen.folded[i], seen.language == "de"
    end = seen.ends[at + len(parts) - 1]
    closed = seen.text[end : end + 1] in (",", "!", "\n", "")
    if word in _THANKS and (gap in (", ", ",\n", " - ") or (gap == " " and closed)) and seen.words[at][0].isupper():
        return True
    if word in _WITH and i and seen.folded[i - 1] in _LIVING and gap in (" ", "\n") and not german:
        return True
    if word in _GREETINGS and gap in (" ", ", ") and (listed or not german or word not in ("liebe", "tag")):
        return True
    if word in _CALLED and gap in (" ", ". ", ": ") and (listed or not seen.is_small):
        return not is_eponym(seen, at, at)
    if word in KIN and gap in (" ", ", ", " (", ": ", "; ", ",\n", "\n") and (listed or not german):
        return not is_eponym(seen, at, at)
    return _is_by_role(seen, i, at, gap, parts) or (
        word in _OFFICES and gap in (" ", "\n") and listed and _by_name(seen, at, parts)
    )


def _is_by_role(seen: Text, i: int, at: int, gap: str, parts: Sequence[str]) -> bool:
    """Whether a name stands behind an office, or behind who did something."""
    word, german = seen.folded[i], seen.language == "de"
    if word in _OFFICES - _FUNCTION_WORDS and gap == " " and len(parts) > 1 and len(parts[0]) == 1:
        return seen.words[at][0].isupper()
    if word in _ROLES and seen.words[i].isupper() and gap in (" ", ": ", ", "):
        return True
    if not german and word in _OFFICES - _FUNCTION_WORDS and gap == " " and not not_names().intersection(parts):
        end = seen.ends[at + len(parts) - 1]
        behind = seen.text[end : end + 2]
        fits = len(parts) > 1 or (word in _STRONG and behind[:1] in " ,.;:)\n" and not behind[1:].isupper())
        return fits and not is_eponym(seen, at, at + len(parts) - 1)
    if word in _ACTING and gap == " " and not not_names().intersection(parts) and seen.words[at].istitle():
        near = i > 0 and seen.folded[i - 1] in _DONE
        done = near or (len(parts) > 1 and _DONE.intersection(seen.folded[max(0, i - 9) : i]) and not german)
        return bool(done) and not is_eponym(seen, at, at + len(parts) - 1)
    return word in _GERMAN_ROLES and gap in (" ", "\n", ", ") and not GERMAN_NOUN.search(parts[0])


def _after_titles(seen: Text, i: int) -> int:
    """Return the first word behind titles."""
    at = i
    while at < min(len(seen.words), i + _MOST_TITLES) and seen.folded[at] in TITLED and len(seen.words[at]) > 1:
        if not is_near(seen.between(at)):
            break
        at += 1
    return at


def _parts(seen: Text, first: int, end: int) -> list[str]:
    found: list[str] = []
    while first < len(seen.words) and seen.starts[first] < end:
        found.append(seen.folded[first])
        first += 1
    return found


def _by_name(seen: Text, i: int, parts: Sequence[str]) -> bool:
    """Whether what stands behind "by" or an office is a name: two words, one of them listed, or one that is nothing else."""
    clear = clear_names()
    return (len(parts) > 1 or parts[0] in clear) and not is_eponym(seen, i, i + len(parts) - 1)
