"""Finds places beside a name, a date or another place, and in lists of places."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from medtune.data.identifiers.eponyms import is_eponym
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.name_ends import GERMAN_NOUN
from medtune.data.identifiers.roads import CITY
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import known_names, not_names, words_of

__all__ = ["find_places_beside"]

_END = r"(?=[ ]{0,2}(?:[,.;:)(\n|^\"]|$)|[ ](?:and|und|et|y|to|nach|à|a|vom|bis|hasta|jusqu|until|del|du|wegen|with|mit|con|on|le|el|am|at|by|avec|bei|durch|who|after|before|since|seit|depuis|desde|when|for|phone|office|clinic|ende|komma|comma|punkt|point|punto|seen|begleitet)\b)"
_PREPOSITIONS = {
    "en": "from|of|in|at|to|near",
    "de": "aus|in|nach|von|bei",
    "fr": "de|à|en|d['’]",
    "es": "de|en|a|desde|hasta",
}
_AMONG = {"en": "in|from|near|at", "de": "[Ii]n|[Aa]us|[Nn]ach|[Bb]ei", "fr": "à", "es": "en|desde"}
"""Prepositions that a town stands behind in a text about people, where a word with a capital is seldom anything else."""
_LEADS = r"(?:le|el|del|du|am|vom|on|bis|until|since|seit|hasta|jusqu['’]en|desde|from|in|en|seen|called|born)"
_SMALL = r"[A-ZÀ-Þ][\w'’-]{3,24}"
"""A town in a text that was typed without capitals: one word, since the next has a capital too."""


class _Patterns:
    """What towns beside something look like in a language."""

    def __init__(self, language: str, city: str, end: str) -> None:
        prepositions = _PREPOSITIONS[language]
        self.after_name = re.compile(rf"(?:,?[ ](?:{prepositions})[ ]?|,[ ]|[ ]\()(?P<city>{city}){end}")
        self.after_date = re.compile(rf"[ ](?:(?:{prepositions})[ ](?:the[ ])?|\()(?P<city>{city}){end}")
        among = r"(?![\w-])" if language == "de" else end
        self.among_people = re.compile(rf"(?<![\w-])(?:{_AMONG[language]})[ ](?P<city>{city}){among}")
        self.before_date = re.compile(rf"\b(?:{prepositions})[ ](?P<city>{city})[ ,]{{1,2}}(?:{_LEADS}[ ])?$")
        self.next = re.compile(
            rf"(?:,[ ](?:and|und|et|y)[ ]|,[ ]|[ ](?:and|und|et|y|to|nach|à|a|via|über|/)[ ])(?P<city>{city}){end}"
        )
        self.of = re.compile(
            rf"(?:[ ][\w'’]{{1,12}}){{0,2}}?[ ](?:(?:{prepositions})[ ](?:the[ ])?)(?P<city>{city}){end}"
        )


_FORMS = {
    (language, small): _Patterns(language, _SMALL if small else CITY, "" if small else _END)
    for language in _PREPOSITIONS
    for small in (False, True)
}
_LABEL = re.compile(
    r"(?:(?:[Pp]laces?|[Tt]owns?|[Cc]ities|[Ll]ocations?|[Tt]ravel|[Tt]rips?|[Ll]ieux|[Vv]illes?|[Vv]oyages?|[Oo]rte|[Aa]ufenthalte?|[Aa]ufenthaltsorte?|[Rr]eise(?:n|ziele?)?|[Ll]ugares|[Vv]iajes?|[Ee]stancias?|[Cc]iudades)\b[^:\n.]{0,40}:"
    r"|(?:[Ll]ives?|[Ww]orks?|[Bb]orn|[Rr]esides?|[Ll]iving|[Ww]orking|[Rr]aised|[Hh]ome)[ ](?:in|at|town)[ ]?:|(?:[Qq]uartier|[Bb]arrio|[Vv]iertel|[Nn]eighbou?rhood|[Dd]istrict|[Dd]istrito|[Mm]unicipio|[Pp]ueblo)[ ]?:)[ ]{0,2}"
)
_INSTITUTION = re.compile(
    rf"(?:Amtsgericht|[Aa]t(?= [A-Z][a-z]+ (?:Memorial|Royal|General|Regional|Mercy))|[Ss]ite|[Zz]entrum|[Ss]tation in|Landgericht|Polizei(?:inspektion|revier)?|Gesundheitsamt|Jobcenter|Standesamt|Feuerwehr|Rathaus|Finanzamt|JVA|Pflegeheim|Seniorenheim|Reha(?:klinik)?|[Tt]ribunal|[Jj]uzgado|[Cc]omisaría|[Aa]yuntamiento|[Cc]entro de [Ss]alud|C\.?S\.?|[Mm]airie|[Cc]ommissariat|[Gg]endarmerie|EHPAD|CPAM|CH[RU]?|SAMU|SMUR|IFSI|[Ee]cole|[Rr]esidencia|[Rr]ésidence|[Pp]refectura|[Pp]réfecture|[Ss]heriff|[Pp]olice|[Cc]ourt)(?:[ ](?:de(?: la| los| las)?|du|des|d['’]|von|in|of|at))?[ ](?P<city>{CITY})"
)
_GERMAN_NOUNS = words_of("german nouns")
_PEOPLE = words_of("people from")
_MOVES = words_of("moves")
_TRAILING = re.compile(r"(?:[ ](?:de la|de los|de las|de|la|del|of|upon|on|sur|am|an der|ob der|vor der|y))+$")
_ARTICLES = frozenset({"la", "le", "les", "l", "el", "los", "las", "san", "santa", "saint"})
_TOWN_ROYAL = re.compile(
    rf"(?:(?<=, )|(?<=at )|(?<=from )|(?<=to )|(?<=in )|(?<=the )|(?<=\n))(?P<city>{CITY})(?=[ ](?:Royal|General|Memorial|Infirmary|Regional)(?:[,.;:\n]|$)|[ ](?:(?:Manor|Lodge|Grange|Court|House|Hall|Gardens|View|Park)[ ])?(?:[Nn]ursing|[Cc]are|[Rr]esidential|[Rr]est|[Aa]ssisted)[ ](?:[Hh]ome|[Ll]iving))"
)
_GREAT_ROAD = re.compile(
    r"\bGran Vía(?:[ ]de[ ](?:la[ ]|los[ ])?[A-ZÁÉÍÓÚ]\w{2,20})?,?[ ](?:n[º.]{1,2}[ ]?)?\d{1,4}(?:,[ ]\d{1,2}[º.ª]{1,2}[ ]?[A-Z]?)?"
)
_STREET = re.compile(r"\d\w{0,6}$|\d\w{0,4},? |[ ]\d{1,4}\w?\b")
_BEHIND_STREET = re.compile(
    rf"(?:,[ ]|\^{{1,3}}|\n)(?P<city>{CITY})(?P<code>,?[ ](?:\d{{4,5}}(?:-\d{{4}})?|[A-Z]{{1,2}}\d[A-Z\d]?[ ]?\d[A-Z]{{2}})\b)?"
)
_CODE = re.compile(r",?[ ^]{1,2}(?:[A-Z]{2}[ ^]{1,2})?\d{5}(?:-\d{4})?\b")
_COMPOUND_ROAD = re.compile(
    r"\b\d{1,4}[a-z]?,?[ ](?:[NSEW]\.?[ ])?[A-Z][a-z]{2,14}(?:way|gate|side|wood|field|hill)\b(?:,[ ][Aa]pt\.?[ ]\w{1,4})?(?=[ ]?[,\n;^|(]|$)"
)
_NUMBERED_ROAD = re.compile(
    r"\b\d{1,5}[ ](?:County|State|Farm|Rural)[ ](?:Road|Route|Rd|Rte)[ ]\d{1,4}\b(?:,[ ][Aa]pt\.?[ ]\w{1,4})?|\b\d{1,5}[ ](?:Hwy|Highway|US|Route|Rte|CR|FM)[ -]\d{1,4}\b(?:,[ ][Aa]pt\.?[ ]\w{1,4})?"
)
_LIVING_AT = re.compile(rf"\bhabiter[ ](?P<city>{CITY})")
_POSTAL = re.compile(r"\bC\.?[ ]?P\.?[ ]?:?[ ]{0,2}(?P<code>\d{5})\b")

_AFTER_LABEL = re.compile(
    rf"(?:the[ ])?(?P<city>(?:el[ ]|la[ ]|[a-z]{{4,14}}[ ](?:de[ ](?:la[ ])?|del[ ]|du[ ])?)?{CITY})"
)
_AT_LABELS = cue(words_of("town labels"))
_AT_INSTITUTIONS = cue(words_of("institutions"))
_AT_AMONG = cue({"in", "from", "near", "at", "aus", "nach", "bei", "à", "en", "desde"})
_AT_COMPOUNDS = cue((), lambda word: word.endswith(("way", "gate", "side", "wood", "field", "hill")))
_AT_NUMBERED = cue({"county", "state", "farm", "rural", "hwy", "highway", "us", "route", "rte", "cr", "fm"})
_AT_ROYAL = cue(
    {"royal", "general", "memorial", "infirmary", "regional", "nursing", "care", "residential", "rest", "assisted"}
)
_AT_PEOPLE = cue(_PEOPLE | _MOVES)


def find_places_beside(seen: Text, found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield places that a finding beside them, or a label for several, tells.

    Args:
        seen: the text.
        found: names, dates and places that were found already.
    """
    text = seen.text
    more: list[Finding] = []
    for pattern in _patterns(seen):
        for m in pattern.finditer(text):
            named = pattern in (_TOWN_ROYAL, _LIVING_AT)
            start = m.start("code") if pattern is _POSTAL else m.start()
            more += _city(seen, m) if named else [Finding(Kind.PLACE, start, m.end())]
    more += _by_words(seen)
    for finding in found:
        more += _beside(seen, finding)
    if any(finding.kind is Kind.NAME for finding in found) and not seen.is_small:
        among = _FORMS[seen.language, False].among_people
        for m in filter(None, (among.match(text, seen.starts[i]) for i in seen.at(_AT_AMONG))):
            if (
                not m["city"].isupper()
                and (seen.language != "de" or _is_german_town(seen, m))
                and not _is_method(seen, m)
            ):
                more += _city(seen, m)
    listed = _labelled(seen)
    for finding in [*listed, *more, *(f for f in found if f.kind is Kind.PLACE)]:
        yield finding
        yield from _going_on(seen, finding, is_listed=finding in listed or seen.language != "de")


def _patterns(seen: Text) -> list[re.Pattern[str]]:
    """Return the patterns that a text can hold at all, as its words tell."""
    patterns = [
        pattern
        for number, pattern in (
            (_AT_COMPOUNDS, _COMPOUND_ROAD),
            (_AT_NUMBERED, _NUMBERED_ROAD),
            (_AT_ROYAL, _TOWN_ROYAL),
        )
        if seen.at(number)
    ]
    if "CP" in seen.text or "C.P" in seen.text or "C. P" in seen.text:
        patterns.append(_POSTAL)
    if "Gran Vía" in seen.text:
        patterns.append(_GREAT_ROAD)
    if "habiter" in seen.text:
        patterns.append(_LIVING_AT)
    return patterns


def _beside(seen: Text, finding: Finding) -> list[Finding]:
    text, forms = seen.text, _FORMS[seen.language, seen.is_small]
    places: list[Finding] = []
    if finding.kind is Kind.NAME and (m := forms.after_name.match(text, finding.end)):
        is_doubtful = m[0].startswith(",") and (
            seen.language == "de" or seen.folded[_word(seen, m.start("city"))] in known_names()
        )
        places += [] if is_doubtful and not _is_town(m["city"]) else _city(seen, m)
    elif finding.kind is Kind.DATE:
        if m := forms.after_date.match(text, finding.end):
            places += _city(seen, m)
        if m := forms.before_date.search(text, max(0, finding.start - 60), finding.start):
            places += _city(seen, m)
    return places


def _labelled(seen: Text) -> list[Finding]:
    places: list[Finding] = []
    if ":" not in seen.text:
        return places
    for i in seen.at(_AT_LABELS):
        label = _LABEL.match(seen.text, seen.starts[i])
        if label and (m := _AFTER_LABEL.match(seen.text, label.end())):
            places += _city(seen, m)
    return places


def _by_words(seen: Text) -> list[Finding]:
    """Return places behind "patient from" and "moved from"."""
    places: list[Finding] = []
    for i in seen.at(_AT_INSTITUTIONS):
        if m := _INSTITUTION.match(seen.text, seen.starts[i]):
            places += _city(seen, m)
    of = _FORMS[seen.language, seen.is_small].of
    for i in seen.at(_AT_PEOPLE):
        word = seen.folded[i]
        is_meant = word in _MOVES or not seen.is_small
        if is_meant and (m := of.match(seen.text, seen.ends[i])):
            places += _city(seen, m)
    return places


def _going_on(seen: Text, finding: Finding, *, is_listed: bool) -> Iterator[Finding]:
    """Yield the town behind a street, the code behind a town, and what goes on in a row of towns."""
    text, at = seen.text, finding.end
    if _STREET.search(text, finding.start, finding.end) and (m := _BEHIND_STREET.match(text, at)):
        for town in _city(seen, m):
            yield Finding(Kind.PLACE, town.start, m.end("code") if m["code"] else town.end)
            at = m.end()
    if code := _CODE.match(text, at):
        yield Finding(Kind.PLACE, code.start(), code.end())
    for _ in range(12):
        m = _FORMS[seen.language, seen.is_small].next.match(text, at)
        if m is None or not _city(seen, m) or not (is_listed or _is_town(m["city"]) or "," not in m[0]):
            return
        yield Finding(Kind.PLACE, m.start("city"), m.end("city"))
        at = m.end("city")


def _is_method(seen: Text, m: re.Match[str]) -> bool:
    """Whether a method, virus or disease bears the name, or it is nothing but a name."""
    i = bisect_left(seen.starts, m.start("city"))
    last = bisect_left(seen.starts, m.end("city")) - 1
    return is_eponym(seen, i, last)


def _city(seen: Text, m: re.Match[str]) -> list[Finding]:
    """Return a place if its words may be one."""
    i = _word(seen, m.start("city"))
    trailing = _TRAILING.search(m["city"])
    end = m.start("city") + trailing.start() if trailing else m.end("city")
    words = [word.casefold() for word in re.findall(r"[^\W\d_]+", seen.text[m.start("city") : end])]
    if words and words[0] in _ARTICLES:
        words = words[1:]
    if i >= len(seen.words) or not words or words[0] in not_names() or words[-1] in not_names():
        return []
    if m["city"].isupper() and len(m["city"]) < 4:
        return []
    if seen.language == "de" and GERMAN_NOUN.search(words[-1]) and not _is_town(m["city"]):
        return []
    return [Finding(Kind.PLACE, m.start("city"), end)]


_TOWN = re.compile(
    r"(?:burg|berg|dorf|stadt|stedt|heim|hausen|haus|furt|furth|hafen|haven|bach|brück|brücken|ingen|kirchen|kirch|münde|walde|wald|feld|büren|hude|stein|thal|tal|au|ow|itz|itsch|zell|weiler|rode|roda|leben|lich|ich|beck|horst|hagen|scheid|rath|born|bronn|brunn|büttel|stetten|beuren|ried|wil|lar|mar|sund|nau|zig|den|in|ach|um|hof)\b",
    re.IGNORECASE,
)


def _is_town(name: str) -> bool:
    """Whether a word ends as German towns do."""
    return _TOWN.search(name) is not None


def _is_german_town(seen: Text, m: re.Match[str]) -> bool:
    """Whether a word behind a preposition is a town rather than one of the nouns that stand there without an article."""
    if _is_town(m["city"]):
        return True
    closed = seen.text[m.end() : m.end() + 1] in ("", ".", ",", ";", ")", "\n")
    return closed and len(m["city"]) > 3 and m["city"].casefold().split()[0] not in _GERMAN_NOUNS


def _word(seen: Text, at: int) -> int:
    return min(bisect_left(seen.starts, at), len(seen.starts) - 1)
