"""Finds names of people: by cues, by forms, and by lists of names that are common."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from medtune.data.identifiers.eponyms import is_eponym
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_beside import beside_marks
from medtune.data.identifiers.name_cues import TITLED, behind_cues, behind_titles
from medtune.data.identifiers.name_ends import GERMAN_NOUN, PARTICLES, name_end
from medtune.data.identifiers.name_forms import ONE_NAME, before_degrees, in_forms
from medtune.data.identifiers.name_lists import behind_beds, beside_names, in_lists
from medtune.data.identifiers.plain_form import plain_form
from medtune.data.identifiers.text import Text, cue, read_text
from medtune.data.identifiers.vocabulary import clear_names, given_names, known_names, not_names, surnames, words_of

__all__ = ["find_names", "find_words", "name_words"]

_JOINING = words_of("joining")
"""Words inside of names that none begins with."""
_MORE = re.compile(
    rf"(?:-[^\W\d_]{{2,24}}(?![\w-])|['’][A-ZÀ-Þ]?[\w]{{2,24}}|[ ](?:(?:de|del|von|van|y|da|dos|di|du)[ ]|d['’])(?:(?:la|las|los|der|den)[ ])?{ONE_NAME}|[ ]?-[ ]?{ONE_NAME}){{0,3}}"
)
_SENTENCE = re.compile(r"[.!?:]\s+$|\n\s*$|^\s*$|[•*\-–]\s$")

_AT_NAMES = cue(known_names())


def find_names(seen: Text) -> Iterator[Finding]:
    """Yield names, then their parts wherever these stand again."""
    at_start = {start: i for i, start in enumerate(seen.starts)}
    found = [_widened(seen, finding, at_start) for finding in _named(seen)]
    found += [_widened(seen, finding, at_start) for finding in beside_names(seen, found)]
    spans = sorted({(f.start, f.end) for f in found})
    yield from found
    yield from (_widened(seen, finding, at_start) for finding in _again(seen, spans))


def _widened(seen: Text, finding: Finding, at_start: Mapping[int, int]) -> Finding:
    """Return a name with what belongs to it on both sides: initials, particles, parts with a hyphen, words with a capital."""
    first = at_start.get(finding.start)
    if first is None:
        return finding
    i = first
    while i and first - i < 4 and _belongs_before(seen, i - 1):
        i -= 1
    while i < first and seen.folded[i] in _JOINING:
        i += 1
    after = _MORE.match(seen.text, finding.end)
    return Finding(finding.kind, seen.starts[i], after.end() if after and after[0] else finding.end)


def _belongs_before(seen: Text, k: int) -> bool:
    """Whether word ``k`` is a part of the name that begins behind it."""
    word, folded, gap = seen.words[k], seen.folded[k], seen.between(k)
    if gap not in (" ", "-", "'", "’", ". ", "."):
        return False
    before = seen.before(k)[-1:]
    if len(word) == 1:
        return (
            word.isupper()
            and gap != "-"
            and (k == 0 or before in "\n:, |_(")
            and folded not in ("a", "i", "y", "e", "o")
        )
    if folded in PARTICLES:
        return gap != ". "
    if gap in (". ", ".") or folded in not_names() or folded in TITLED or not word[0].isupper():
        return False
    if gap == "-" or folded in known_names():
        return True
    begins = k == 0 or _SENTENCE.search(seen.text[max(0, seen.starts[k] - 4) : seen.starts[k]])
    return seen.language != "de" and not begins


def _named(seen: Text) -> Iterator[Finding]:
    yield from behind_titles(seen)
    yield from behind_cues(seen)
    yield from before_degrees(seen)
    yield from _listed(seen)
    yield from in_forms(seen)
    yield from in_lists(seen)
    yield from behind_beds(seen)
    yield from beside_marks(seen)


def _listed(seen: Text) -> Iterator[Finding]:
    """Yield names that the lists tell: a given name beside another word, a surname beside an initial, or one that is nothing else."""
    words, folded = seen.words, seen.folded
    given, sur, stop = given_names()[1], surnames()[1], not_names()
    taken = -1
    for i in seen.at(_AT_NAMES):
        word = folded[i]
        if (
            i <= taken
            or (word not in given and word not in sur)
            or not words[i][0].isupper()
            or len(word) < 2
            or word in stop
        ):
            continue
        first = i
        while (
            first
            and seen.before(first) in (" ", "-", ". ", ".", "'", "’")
            and _goes_before(seen, first - 1)
            and i - first < 4
            and first - 1 > taken
        ):
            first -= 1
        while first < i and folded[first] in PARTICLES and words[first].islower():
            first += 1
        end = name_end(seen, first)
        if end is None:
            continue
        last = first
        while last + 1 < len(words) and seen.starts[last + 1] < end:
            last += 1
        parts = [folded[k] for k in range(first, last + 1) if len(folded[k]) > 1 and folded[k] not in PARTICLES]
        if is_eponym(seen, first, last):
            taken = last
            continue
        if _counts(seen, first, last, parts):
            yield Finding(Kind.NAME, seen.starts[first], end)
            taken = last


def _goes_before(seen: Text, k: int) -> bool:
    word = seen.words[k]
    if seen.folded[k] in not_names() and len(word) > 1:
        return False
    if len(word) == 1:
        return word.isupper() and seen.between(k).startswith(".")
    return word[0].isupper() and seen.folded[k] in known_names()


def _counts(seen: Text, first: int, last: int, parts: list[str]) -> bool:
    """Whether words that begin with a capital, of which one is listed, are a name."""
    clear_given, given = given_names()
    clear_sur, sur = surnames()
    if not parts:
        return False
    has_initial = any(len(seen.words[k]) == 1 for k in range(first, last + 1))
    hyphen = all(seen.between(k) == "-" for k in range(first, last)) and first != last
    if len(parts) == 1:
        if has_initial:
            return parts[0] in clear_sur or parts[0] in clear_given
        return False
    listed_given = [p for p in parts if p in given]
    listed_sur = [p for p in parts if p in sur]
    unlisted = [p for p in parts if p not in given and p not in sur]
    clear = [p for p in parts if p in clear_given or p in clear_sur]
    if any(seen.folded[k] in ("y", "et", "und", "and") for k in range(first, last)) and not listed_given:
        return False  # authors of a work or a method
    if hyphen:
        return not unlisted and bool(clear) and (bool(listed_given) or len(clear) == len(parts))
    if (
        seen.words[first].isupper()
        and len(seen.words[first]) > 2
        and not seen.words[last].isupper()
        and parts[-1] in given
    ):
        return True
    if seen.language == "de" and len(parts) == 2 and parts[1] in clear_sur and not GERMAN_NOUN.search(parts[0]):
        return True
    if seen.language == "de":
        return bool(clear) and (not unlisted or (parts[0] in clear_given and not GERMAN_NOUN.search(parts[-1])))
    if not unlisted:
        return bool(clear) or (parts[0] in given and parts[-1] in sur)
    return (
        bool(clear)
        and len(unlisted) <= 2
        and (parts[0] in clear_given or parts[0] in given or parts[-1] in clear_sur or bool(listed_sur))
    )


def name_words(text: str, findings: Sequence[Finding]) -> set[str]:
    """Return the words of the names in a text, in small letters, which tell a name wherever they stand again."""
    found: set[str] = set()
    for finding in findings:
        if finding.kind is Kind.NAME:
            name = plain_form(text[finding.start : finding.end]).text
            found.update(filter(_is_telling, re.findall(r"[^\W\d_]+", name)))
    return {word.casefold() for word in found}


def find_words(text: str, known: set[str], findings: Sequence[Finding]) -> list[Finding]:
    """Return where words of names stand in a text beside what was found there."""
    plain = plain_form(text)
    folded = plain.text.casefold()
    if not any(word in folded for word in known):
        return []
    again = _again(read_text(plain.text), [], known)
    placed = [Finding(each.kind, *plain.original(each.start, each.end)) for each in again]
    ends = [finding.end for finding in findings]  # in order, as they stand apart
    after = [bisect_right(ends, each.start) for each in placed]
    return [each for each, i in zip(placed, after, strict=True) if i == len(ends) or findings[i].start >= each.end]


def _is_telling(word: str) -> bool:
    """Whether a word of a name is more than an initial, and no word of the language."""
    return (
        len(word) > 2 and word[0].isupper() and word.casefold() not in not_names() and word.casefold() not in PARTICLES
    )


def _again(seen: Text, spans: list[tuple[int, int]], known: set[str] | None = None) -> Iterator[Finding]:
    """Yield the words of names that were found, or are ``known``, wherever they stand again outside of ``spans``."""
    inside: list[bool] = []
    at = 0
    for start, end in zip(seen.starts, seen.ends, strict=True):
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        inside.append(at < len(spans) and spans[at][0] <= start and end <= spans[at][1])
    if known is None:
        known = {w.casefold() for w, within in zip(seen.words, inside, strict=True) if within and _is_telling(w)}
    for i, (folded, within) in enumerate(zip(seen.folded, inside, strict=True)):
        if within or folded not in known:
            continue
        word = seen.words[i]
        if (word[0].isupper() and not is_eponym(seen, i, i)) or (
            word.islower() and len(word) > 4 and folded in clear_names()
        ):
            yield Finding(Kind.NAME, seen.starts[i], seen.ends[i])
