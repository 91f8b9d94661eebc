"""Finds names in lists: behind a label for several people, beside a name, behind a bed, before an age in brackets."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from medtune.data.identifiers.eponyms import is_eponym
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_cues import TITLED
from medtune.data.identifiers.name_ends import GERMAN_NOUN, PARTICLES, name_end
from medtune.data.identifiers.text import UPPER, Text, cue
from medtune.data.identifiers.vocabulary import known_names, not_names, words_of

__all__ = ["behind_beds", "beside_names", "in_lists"]

_LISTS = words_of("list labels")
"""Words for several people, behind which names stand in a row."""
_FAMILY = words_of("families")
"""Those among them that need no colon."""
_COLON = re.compile(r"\s?(?:\([^()\n]{1,20}\)\s?)?[:=]\s{0,4}|\s{1,2}\(")
_SEPARATOR = re.compile(
    r"(?:\s?\([^()\n]{1,24}\)?)?(?:[ ]?[,;/|•&+][ ]{0,2}(?:(?:and|und|et|y|e|sowie|cc|bcc)[ :]{1,2})?|\)?,?[ ](?:and|und|et|y|e|sowie|u\.|with|mit|avec|con)[ ])|\)?;?[ ]{0,2}(?:b?cc)[ :]{1,2}"
)
_ENDS = re.compile(r"[ ]{0,2}(?:[,;/|.)(\n\]]|$|[-–][ ]|(?:and|und|et|y|&)[ ])")
_BED = re.compile(r"\.?\s?#?\d{1,4}[A-Za-z]?(?:/\d{1,2})?\s?[:=-]\s{1,3}")
_NUMBERED = re.compile(r"\n#?\d{1,4}[A-Za-z]?\s?[:=-]\s{1,3}")
_AGED = re.compile(
    rf"(?P<name>[{UPPER}][\w'’-]{{1,24}}(?:[ ][{UPPER}][\w'’-]{{1,24}})?)[ ]\(\d{{1,2}}(?:[ ]?(?:yrs?|years?|y|J\.?|Jahre|ans|años|a\.|mo|m))?\)"
)
_AGED_BEFORE = re.compile(r"(?:[,;:]|\b(?:und|et|y|and|&))[ ]$|[^\W\d_]+[ ]$")
_ROUND = re.compile(
    rf"(?:[:;,\n][ ]?|^)(?P<name>[{UPPER}][\w'’-]{{1,24}}(?:[ ][{UPPER}][\w'’-]{{1,24}})?)[ ]-[ ](?=[\w])"
)
_LINE = re.compile(r"[^\n]+")
_MOST = 40
"""Names in one list."""
_PAIR = 2

_AT_BEDS = cue(words_of("beds"))
_AT_LISTS = cue(_LISTS)


def in_lists(seen: Text) -> Iterator[Finding]:
    """Yield names behind words for several people."""
    for i in seen.at(_AT_LISTS):
        word = seen.folded[i]
        if word not in _LISTS or i + 1 >= len(seen.words):
            continue
        gap = seen.between(i)
        if _COLON.fullmatch(gap) or (word in _FAMILY and gap in (" ", "  ", " \n")):
            yield from _row(seen, i + 1, is_sure=True)
    for aged in _AGED.finditer(seen.text) if "(" in seen.text else ():
        i = bisect_left(seen.starts, aged.start())
        before = _AGED_BEFORE.search(seen.text, max(0, aged.start() - 24), aged.start())
        near = seen.folded[max(0, i - 8) : i]
        if (
            before
            and seen.folded[i] not in not_names()
            and (_FAMILY.intersection(near) or seen.folded[i] in known_names())
        ):
            yield Finding(Kind.NAME, aged.start("name"), aged.end("name"))
    for line in _LINE.finditer(seen.text) if seen.text.count(" - ") >= _PAIR else ():
        if line[0].count(" - ") < _PAIR:
            continue
        found = [m for m in _ROUND.finditer(line[0]) if _is_likely(seen, line.start() + m.start("name"))]
        if len(found) >= _PAIR:
            yield from (Finding(Kind.NAME, line.start() + m.start("name"), line.start() + m.end("name")) for m in found)


def behind_beds(seen: Text) -> Iterator[Finding]:
    """Yield names behind the number of a bed or room."""
    beds = [(bed, True) for i in seen.at(_AT_BEDS) if (bed := _BED.match(seen.text, seen.ends[i]))]
    beds += [(bed, False) for bed in _NUMBERED.finditer(seen.text)]
    for bed, is_sure in beds:
        i = bisect_left(seen.starts, bed.end())
        if i < len(seen.words) and seen.starts[i] == bed.end():
            yield from _row(seen, i, is_sure=is_sure, most=1, lines=True)


def beside_names(seen: Text, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield names that go on in a row from one that was found."""
    reached = 0
    for finding in sorted(found, key=lambda each: each.start):
        separator = _SEPARATOR.match(seen.text, finding.end) if finding.end >= reached else None
        if separator is None:
            continue
        i = bisect_left(seen.starts, separator.end())
        if i < len(seen.words) and seen.starts[i] == separator.end():
            for further in _row(seen, i, is_sure=False):
                yield further
                reached = further.end


def _row(seen: Text, i: int, *, is_sure: bool, most: int = _MOST, lines: bool = False) -> Iterator[Finding]:
    """Yield names from word ``i`` on, as long as separators and names follow each other."""
    for _ in range(most):
        i = _first_of_name(seen, i)
        end = name_end(seen, i, lines=lines) if i < len(seen.words) else None
        if end is None or not _goes_in_row(seen, i, end, is_sure=is_sure):
            return
        yield Finding(Kind.NAME, seen.starts[i], end)
        separator = _SEPARATOR.match(seen.text, end)
        if separator is None:
            return
        i = bisect_left(seen.starts, separator.end())
        if i >= len(seen.words) or seen.starts[i] != separator.end():
            return


def _first_of_name(seen: Text, i: int) -> int:
    """Return the first word behind titles and roles."""
    while i + 1 < len(seen.words) and seen.folded[i] in TITLED and seen.between(i) in (" ", ". ", "."):
        i += 1
    return i


def _goes_in_row(seen: Text, first: int, end: int, *, is_sure: bool) -> bool:
    last = bisect_left(seen.starts, end) - 1
    parts = [word for word in seen.folded[first : last + 1] if word not in PARTICLES and len(word) > 1]
    if not parts or is_eponym(seen, first, last):
        return False
    known = any(part in known_names() for part in parts)
    ends = _ENDS.match(seen.text, end) is not None
    if is_sure:
        return known or ends or seen.text[end : end + 1] == " "
    if seen.language == "de":
        return known and ends and not GERMAN_NOUN.search(parts[-1])
    return ends and (known if len(parts) < _PAIR else not not_names().intersection(parts))


def _is_likely(seen: Text, at: int) -> bool:
    i = bisect_left(seen.starts, at)
    return i < len(seen.words) and seen.folded[i] not in not_names() and not is_eponym(seen, i, i)
