"""Finds names by where they stand: in lists and forms, under a line of dashes, before a degree, beside kin."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_cues import KIN, LABELS
from medtune.data.identifiers.name_ends import PARTICLES
from medtune.data.identifiers.text import UPPER, Text, cue
from medtune.data.identifiers.vocabulary import not_names, surnames, words_of

__all__ = ["ONE_NAME", "before_degrees", "in_forms"]

ONE_NAME = rf"[{UPPER}](?:['’][{UPPER}])?[\w]{{1,24}}(?:[-'’][{UPPER}a-z][\w]{{0,24}}){{0,3}}"
_WHOLE = rf"(?:(?:von|van|der|de|la|le|di|da|del|du|d['’])[ ]?){{0,2}}{ONE_NAME}(?:[ ](?:(?:y|de|von|del|la|dos)[ ]){{0,2}}{ONE_NAME}){{0,2}}"
_IN_LIST = re.compile(
    rf"(?:^|\n|\d[.):]?[ ]{{1,3}}|[|:][ ]|(?<=\.\.)\.[ ])[-*•]?[ ]?(?P<name>{_WHOLE},[ ]?{ONE_NAME}(?:[ ][A-Z]\.?(?!\w)|[ ]{ONE_NAME}){{0,2}})(?=[ ]{{2}}|[ ]?\n[ ]{{2}}|[ ]\(|,?[ ]{{1,2}}\d{{1,3}}[ ]?[a-zA-Z]{{1,5}}\b|[ ]{{0,3}}[*|]|,[ ]\d{{2}}\b)"
)
_UNDER_DASHES = re.compile(
    rf"(?:^|\n)[-–_]{{2,}}[ ]?\n[ ]{{0,4}}(?:Dr\.?[ ]|Prof\.?[ ])?(?P<name>{_WHOLE})(?=[ ]?(?:\n|,|\||$|\())"
)
_UNDERSCORES = re.compile(rf"(?<=__)[ ]?(?P<name>[A-Z]\.?[ ]{_WHOLE}|{_WHOLE})(?=[ ]?__)")
_INITIAL_LINE = re.compile(
    r"(?:(?:^|\n)[-*• ]{0,3}|:[ ]{1,4}|[ ]{2}|\|[ ])(?P<name>[A-Z]\.?[ ](?:[A-Z]\.?[ ])?(?:(?:von|van|de|der|del|di|la|le|d['’])[ ]?){0,2}[A-ZÀ-Þ](?:['’][A-ZÀ-Þ])?\w{2,24}(?:[-'’ ][A-ZÀ-Þ]\w{1,24}){0,2})(?=[ ]{0,2}(?:\n|,|$|\||[ ]{2}))"
)
_LABELLED_LINE = re.compile(
    rf"(?:(?:^|\n)[ ]{{0,4}}|[ ]{{2}})(?P<label>[A-ZÀ-Þ][\w]{{2,20}})[ ]?:[ ]{{1,4}}(?P<name>{ONE_NAME}[ ](?:[A-Z]\.[ ]|(?:y|de|von|del|la|dos)[ ]){{0,2}}{ONE_NAME}(?:[ ]{ONE_NAME})?)(?=[ ]{{0,2}}(?:\n|,|$|\||[ ]{{2}}|\())"
)
_BARE_LABEL = re.compile(
    rf"(?:^|\n)[-*• ]{{0,3}}(?:Name|Patient|Patientin|Nom|Nombre|Paciente|Surname|Nachname|NAME|PATIENT|NOM|PACIENTE)[ ]{{1,6}}(?P<name>{_WHOLE}(?:,[ ]?{_WHOLE})?)(?=[ ]{{0,2}}(?:\n|$|[ ]{{2}}))"
)
_DOING = re.compile(
    r"(?<![\w.])(?P<name>[A-Z]{2})[ ](?=(?:reports?|denies|states|says|lives|complains|presents|presented|attended|feels|wants|refuses|asked|agreed|tolerated|slept|ate|walked|remains|understands|"
    r"berichtet|klagt|gibt an|lebt|wohnt|verneint|stellt sich|fühlt|schlief|möchte|wünscht|rapporte|signale|vit|décrit|se plaint|dit|refuse|accepte|dort|mange|souhaite|"
    r"refiere|niega|acude|vive|comenta|dice|quiere|rechaza|duerme|come)\b)"
)
_SUBJECT = re.compile(r"(?:^|[.!?]\s|\n[-*•]?\s{0,2})(?P<name>[A-Z]{2})[ ](?=[a-zà-ÿ])")
_ABBREVIATIONS = words_of("abbreviations")
_INITIALS = re.compile(r"(?P<name>[A-Z](?<![\w.][A-Z])\.\s?(?:[A-Z]\.\s?){1,2}(?![\w.])(?<!\s))")
_NO_INITIALS = words_of("no initials")
_WARD_ROLE = re.compile(
    rf"(?:RGN|RN|SN|SR|CN|HCA|RMN|ODP|SHO|SpR|DUE|TCAE|IDE|AS|OA|OÄ)[ ](?P<name>[{UPPER}]\.?[ ]{ONE_NAME})"
)
_DEGREE_WORDS = words_of("degree words")
_PATTERNS = (
    _IN_LIST,
    _UNDER_DASHES,
    _UNDERSCORES,
    _INITIAL_LINE,
    _LABELLED_LINE,
    _BARE_LABEL,
    _INITIALS,
)
_SIGN_OF = {
    _UNDERSCORES: ("__",),
    _UNDER_DASHES: ("--", "__"),
    _IN_LIST: (",",),
    _LABELLED_LINE: (": ", ":\n"),
    _INITIALS: (".",),
}
"""What a text must hold, so that a pattern is looked for."""
_WORDS = re.compile(r"[^\W\d_]+")
_WITHIN = frozenset({" ", "-", ". ", "'", "’"})
"""What may stand between the parts of a name."""

_AT_KIN = cue(KIN)
_AT_PAIRS = cue((), lambda word: len(word) == 2)
_AT_ROLES = cue(
    ["rgn", "rn", "sn", "sr", "cn", "hca", "rmn", "odp", "sho", "spr", "due", "tcae", "ide", "as", "oa", "oä"]
)
_AT_DEGREES = cue({word.casefold() for word in _DEGREE_WORDS})


def in_forms(seen: Text) -> Iterator[Finding]:
    """Yield names in lists and forms, initials, and two letters before what only people do."""
    for pattern in _PATTERNS:
        if (signs := _SIGN_OF.get(pattern)) and not any(sign in seen.text for sign in signs):
            continue
        for m in pattern.finditer(seen.text):
            if _is_name(seen, pattern, m):
                yield Finding(Kind.NAME, m.start("name"), m.end("name"))
    yield from _by_words(seen)
    yield from _before_kin(seen)


def _by_words(seen: Text) -> Iterator[Finding]:
    """Yield two letters before what only people do, and an initial and a name behind an office in capitals."""
    for i in seen.at(_AT_PAIRS):
        if not seen.words[i].isupper():
            continue
        start = seen.starts[i]
        for pattern in (_DOING, _SUBJECT):
            doing = pattern.search(seen.text, max(0, start - 5), seen.ends[i] + 16)
            if doing and doing.start("name") == start and _is_name(seen, pattern, doing):
                yield Finding(Kind.NAME, start, doing.end("name"))
    for i in seen.at(_AT_ROLES):
        m = _WARD_ROLE.match(seen.text, seen.starts[i])
        if m and _is_name(seen, _WARD_ROLE, m):
            yield Finding(Kind.NAME, m.start("name"), m.end("name"))


def _is_name(seen: Text, pattern: re.Pattern[str], found: re.Match[str]) -> bool:
    """Whether what stands in such a place has a word that may be a name."""
    name = found["name"]
    if pattern is _LABELLED_LINE and (seen.language == "de" or found["label"].casefold() in not_names() - LABELS):
        return False
    if pattern in (_DOING, _SUBJECT) and name in _ABBREVIATIONS:
        return False
    words = [word.casefold() for word in _WORDS.findall(name)]
    if pattern is _INITIALS:
        return "".join(words) not in _NO_INITIALS
    first = next((word for word in words if word not in PARTICLES), words[0])
    return first not in not_names() or first in surnames()[1]


def _before_kin(seen: Text) -> Iterator[Finding]:
    """Yield words with a capital before kin in brackets: Ash Corlett (wife)."""
    for i in seen.at(_AT_KIN):
        word = seen.folded[i]
        if word not in KIN or i == 0 or seen.before(i) not in (" (", ", (") or seen.between(i)[:1] not in ")/,;":
            continue
        first = _first_capital(seen, i - 1, 4)
        if seen.words[i - 1][0].isupper() and seen.folded[first] not in not_names():
            yield Finding(Kind.NAME, seen.starts[first], seen.ends[i - 1])


def _first_capital(seen: Text, last: int, most: int) -> int:
    """Return the first of the words with a capital that end with word ``last``."""
    first = last
    while first and last - first < most and seen.before(first) in _WITHIN:
        if not seen.words[first - 1][0].isupper() or seen.folded[first - 1] in not_names():
            break
        first -= 1
    return first


def before_degrees(seen: Text) -> Iterator[Finding]:
    """Yield words that begin with a capital before a degree: Ash Corlett, MD."""
    for behind in seen.at(_AT_DEGREES):
        i = behind - 1
        if i < 0 or seen.words[behind] not in _DEGREE_WORDS or seen.between(i) not in (", ", " "):
            continue
        first = _first_capital(seen, i, 3)
        alone = first == i and (seen.words[i].isupper() or seen.between(i) == " ")
        if seen.words[i][0].isupper() and seen.folded[i] not in not_names() and not alone:
            yield Finding(Kind.NAME, seen.starts[first], seen.ends[i])
