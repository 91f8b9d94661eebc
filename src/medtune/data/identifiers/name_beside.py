"""Finds names by what touches them: an address of e-mail, a possessive before kin, a record in brackets, a word for saying."""

import re
from bisect import bisect_left
from collections.abc import Iterator

from medtune.data.identifiers.eponyms import is_eponym
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_cues import KIN
from medtune.data.identifiers.name_ends import GERMAN_NOUN, name_end
from medtune.data.identifiers.name_forms import ONE_NAME
from medtune.data.identifiers.text import UPPER, Text, cue
from medtune.data.identifiers.vocabulary import clear_names, given_names, known_names, not_names, words_of

__all__ = ["beside_marks"]

_PERSON = rf"{ONE_NAME}(?:[ ](?:(?:de|la|del|du|von|van|der|den|los|las|y|le)[ ]){{0,3}}{ONE_NAME}){{0,3}}"
_MAILER = re.compile(rf"(?P<name>{_PERSON})[ \n](?=[<\[(][\w.+-]{{1,64}}@)")
_WROTE = re.compile(
    rf"(?P<name>{_PERSON})[ \n](?=(?:<[^>\n]{{1,80}}>[ ])?(?:wrote|writes|schrieb|schreibt|a écrit|escribió|escribe)\b)"
)
_WROTE_AFTER = re.compile(rf"\b(?:schrieb|wrote)[ ](?P<name>{_PERSON})(?=[ ]?[:<])")
_OF_KIN = re.compile(rf"(?P<name>{ONE_NAME}(?:[ ]{ONE_NAME})?)['’]s[ ](?P<kin>[a-z]{{3,14}})")
_BEFORE_KIN = re.compile(rf"(?P<name>{ONE_NAME}(?:[ ]{ONE_NAME})?)[ ]\($")
_INITIALS = re.compile(rf"(?P<name>[{UPPER}]{{2,3}})(?=[ ]\((?:MRN|DOB|NHS|ID|Hosp|age|\d{{1,3}}[ ]?(?:y|M|F)))")
_SIGNED = re.compile(rf"\.?[ ]?:?[ ](?P<name>[{UPPER}][{UPPER}a-z]?\.?[{UPPER}]?)(?!\w)")
_HEAD = re.compile(
    rf"(?P<name>[{UPPER}][{UPPER}'’-]{{1,24}}(?:[ ](?:DE|LA|DEL|DU|VON|VAN|EL|LE|LOS)){{0,2}}(?:,?[ ][{UPPER}][{UPPER}'’-]{{1,24}}){{1,3}}(?:[ ][{UPPER}]\.?)?)"
    r"(?=[ ,;|*(]{1,6}(?:\d{1,4}[-/.]\d|\d{5,}|[fFmM][ /]|\(?(?:DOB|MRN|geb|née?|nac|ID)|\d{1,2}[-/.]))"
)
_WITH_INITIAL = re.compile(
    rf"(?P<name>[{UPPER}](?<=[ ].)\.[ ]?(?:[{UPPER}]\.[ ]?)?(?:(?:de|la|del|du|von|van|der|los|d['’])[ ]?){{0,3}}{ONE_NAME}(?:-{ONE_NAME})?)"
)
_BEFORE_INITIAL = re.compile(
    r"(?:(?<!\w)(?:by|per|with|to|and|from|is|ist|est|es|von|durch|mit|an|par|avec|à|por|con|y|et|und|[Ss]ignature|[Ss]igned|[Ff]irmado|[Ff]do\.?|[Gg]ez\.?|[Ss]igné|w/|&))[ ]?:?[ ]$"
)
_SURNAME_FIRST = re.compile(rf"\.?[,:]?[ ](?P<name>{ONE_NAME},[ ]{ONE_NAME}(?:[ ]{ONE_NAME})?)(?=[ ]?[,;(\n]|$)")
_DEPUTIES = ("i.A", "i. A", "i.V", "i. V", "ppa.", "p.p.", "p.o.", "P.O.", "p/o")
_DEPUTY = re.compile(rf"\b(?:i\.[ ]?[AV]\.|ppa\.|p\.p\.|p\.o\.|P\.O\.|p/o)[ ](?P<name>{_PERSON})")
_QUOTED = re.compile(rf"[\"„“«](?P<name>{ONE_NAME})[\"”“»][ ]\((?:[^\W\d]{{1,10}}\.?[ ])?(?P<kin>[^\W\d]{{3,16}})\)")
_ACTED = re.compile(rf"[ ](?P<name>{_PERSON})[ ](?=(?:am|le|el|on)[ ]\d)")
_SPECIALTY = re.compile(rf"(?<=[ ]\()(?P<name>{_PERSON})(?=[,)])")
_BEFORE_SPECIALTY = re.compile(r"\w{2}(?:ie|ik|gy|ics|ía|cal|cardio|ortho|neuro|[Cc]hir)[ ]\($|OA[ ]\($")
_TWO_CAPITALS = re.compile(rf"[{UPPER}]{{2}},?[ ][{UPPER}]{{2}}")
_SPECIES = words_of("species")
_SPEAKING = words_of("speaking")
_TO = frozenset(
    {
        "to",
        "with",
        "w",
        "à",
        "a",
        "an",
        "mit",
        "con",
        "avec",
        "que",
        "dass",
        "that",
        "from",
        "ihnen",
        "dir",
        "euch",
        "de",
        "von",
        "vom",
        "s",
    }
)
_GENITIVE = 2

_AT_PATIENTS = cue(words_of("before surname first"))
_AT_DOERS = cue({"durch", "von", "par", "por", "by"})
_AT_SIGNED = cue(words_of("initials of"))
_AT_SPEAKING = cue(_SPEAKING)

_GIVEN = given_names()[0] & clear_names()
_AT_GIVEN = cue(_GIVEN)


def beside_marks(seen: Text) -> Iterator[Finding]:
    """Yield names that a mark beside them tells."""
    for pattern in _patterns(seen.text):
        for m in pattern.finditer(seen.text):
            yield from _marked(seen, m, pattern)
    yield from _in_capitals(seen)
    for number, pattern in ((_AT_PATIENTS, _SURNAME_FIRST), (_AT_DOERS, _ACTED), (_AT_SIGNED, _SIGNED)):
        for i in seen.at(number):
            if behind := pattern.match(seen.text, seen.ends[i]):
                yield from _marked(seen, behind, pattern)
    yield from _of_kin(seen)
    yield from _spoken_to(seen)
    yield from _given_alone(seen)


def _in_capitals(seen: Text) -> Iterator[Finding]:
    """Yield words in capitals before a date or a number, as heads of sheets and labels have them."""
    text, done = seen.text, 0
    for pair in _TWO_CAPITALS.finditer(text):
        start = pair.start()
        while start and (text[start - 1].isupper() or text[start - 1] in "'’-"):
            start -= 1
        if start >= done and (start == 0 or text[start - 1] in " \n") and (m := _HEAD.match(text, start)):
            done = m.end()
            yield from _marked(seen, m, _HEAD)


def _patterns(text: str) -> list[re.Pattern[str]]:
    """Return the patterns that a text can hold at all, as cheap signs tell."""
    patterns = [_WITH_INITIAL]
    if "(" in text:
        patterns += [_INITIALS, _SPECIALTY]
        if any(sign in text for sign in '"„“«'):
            patterns.append(_QUOTED)
    if any(sign in text for sign in _DEPUTIES):
        patterns.append(_DEPUTY)
    if "@" in text:
        patterns.append(_MAILER)
    if "rote" in text or "schrieb" in text or "écrit" in text or "escribi" in text:
        patterns += [_WROTE, _WROTE_AFTER]
    return patterns


def _marked(seen: Text, m: re.Match[str], pattern: re.Pattern[str]) -> Iterator[Finding]:
    before = {_WITH_INITIAL: _BEFORE_INITIAL, _SPECIALTY: _BEFORE_SPECIALTY}.get(pattern)
    start = m.start("name") + (_unlabelled(m["name"]) if pattern is _HEAD else 0)
    if before and not before.search(seen.text, max(0, start - 14), start):
        return
    if _is_person(seen, seen.text[start : m.end("name")], start, pattern):
        yield Finding(Kind.NAME, start, m.end("name"))


def _unlabelled(name: str) -> int:
    """Return how long the words of a form are that a line in capitals begins with."""
    start = 0
    for word in re.finditer(r"[^\W\d_]+[ ]", name):
        if word[0].strip().casefold() not in not_names():
            break
        start = word.end()
    return start


def _is_person(seen: Text, name: str, start: int, pattern: re.Pattern[str]) -> bool:
    if pattern in (_INITIALS, _SIGNED):
        return True
    words = [word.casefold() for word in re.findall(r"[^\W\d_]+", name)]
    if pattern is _HEAD:
        return (
            len(words) > 1
            and not not_names().intersection(word for word in words if len(word) > 1)
            and _has_small_letters(seen.text, start)
        )
    i = bisect_left(seen.starts, start)
    last = i + len(words) - 1
    if last >= len(seen.words) or words[-1] in not_names() or (pattern is _WITH_INITIAL and words[-1] in _SPECIES):
        return False
    if pattern in (_MAILER, _WROTE):
        return True
    if pattern is _ACTED and seen.language == "de" and GERMAN_NOUN.search(words[-1]):
        return False
    if pattern is _SPECIALTY and not known_names().intersection(words):
        return False
    return (len(words[0]) == 1 or words[0] not in not_names()) and not is_eponym(seen, i, last)


def _has_small_letters(text: str, start: int) -> bool:
    """Whether capitals are not simply how this part of the text is written."""
    near = text[max(0, start - 200) : start] + text[start + 40 : start + 240]
    return sum(map(str.islower, near)) > sum(map(str.isupper, near)) // _GENITIVE or not near.strip()


def _of_kin(seen: Text) -> Iterator[Finding]:
    """Yield who has kin, and who stands before that in brackets: Ash (Corlett's wife)."""
    if "'s " not in seen.text and "’s " not in seen.text:
        return
    for m in _OF_KIN.finditer(seen.text):
        i = bisect_left(seen.starts, m.start("name"))
        if m["kin"] not in KIN or seen.folded[i] in not_names():
            continue
        yield Finding(Kind.NAME, m.start("name"), m.end("name"))
        if before := _BEFORE_KIN.search(seen.text, max(0, m.start() - 60), m.start()):
            yield Finding(Kind.NAME, before.start("name"), before.end("name"))


def _spoken_to(seen: Text) -> Iterator[Finding]:
    """Yield who is asked, told, called or notified."""
    for i in seen.at(_AT_SPEAKING):
        word = seen.folded[i]
        if word not in _SPEAKING or i + 1 >= len(seen.words):
            continue
        at = i + 1
        while (
            at < len(seen.words) - 1
            and at <= i + _GENITIVE
            and seen.folded[at] in _TO
            and (seen.words[at].islower() or seen.folded[at] == "ihnen")
        ):
            at += 1
        gap = seen.text[seen.ends[i] : seen.starts[at]]
        if (
            not seen.words[at][0].isupper()
            or any(sign in gap for sign in ".;:,()\n?!")
            or seen.folded[at] in not_names()
        ):
            continue
        end = name_end(seen, at)
        if end is None:
            continue
        last = bisect_left(seen.starts, end) - 1
        parts = seen.folded[at : last + 1]
        known = any(part in known_names() for part in parts)
        if not is_eponym(seen, at, last) and (known or (seen.language != "de" and not not_names().intersection(parts))):
            yield Finding(Kind.NAME, seen.starts[at], end)


def _given_alone(seen: Text) -> Iterator[Finding]:
    """Yield given names that are nothing else, where they stand alone."""
    for i in seen.at(_AT_GIVEN):
        word = seen.folded[i]
        alone = "-" not in seen.before(i)[-1:] + seen.between(i)[:1]
        if (
            alone
            and seen.words[i].istitle()
            and len(word) > _GENITIVE
            and word not in not_names()
            and not is_eponym(seen, i, i)
        ):
            yield Finding(Kind.NAME, seen.starts[i], seen.ends[i])
