"""Finds dates of a person, which are more than a year, and ages over 89."""

import re
from collections.abc import Iterator, Mapping

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.spoken_dates import find_spoken_dates
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import words_of

__all__ = ["find_dates"]

_YEAR = r"(?:19|20)\d\d"
_UNIT = r"(?!\s?(?:mg|ml|µg|mcg|mmHg|IE|IU|mmol|kg|cm|mm|%)(?!\w))"
_END = rf"(?!\d|[./-]\d){_UNIT}"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_GAP = r"\s{0,2}"
_MAYBE = re.compile(r"\d(?<!\d\d)(?:\d{0,3}(?=(?:[ \n]?[./-]|[ ])[ \n]?[\dIVX])|\d{7}(?!\d))")
"""What a date in numbers begins like, also many a measure."""
_NUMERIC = re.compile(
    "|".join(
        (
            rf"{_YEAR}(?P<a>[-/.]){_MONTH}(?P=a){_DAY}(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?(?!\d|[-/]\d)",
            rf"(?:{_DAY}{_GAP}(?P<b>[./-]){_GAP}{_MONTH}|{_MONTH}{_GAP}(?P<c>[./-]){_GAP}{_DAY}){_GAP}(?:(?P=b)|(?P=c)){_GAP}(?:{_YEAR}|['’]?\d\d){_END}",
            rf"{_DAY} {_MONTH} {_YEAR}(?![\w/]){_UNIT}",
            rf"{_DAY}{_GAP}(?P<d>[./-]){_GAP}(?:I{{1,3}}|I?V|VI{{1,3}}|I?X|XI{{1,2}}){_GAP}(?P=d){_GAP}(?:{_YEAR}|['’]?\d\d){_END}",
            rf"{_MONTH}{_GAP}[./-]{_GAP}{_YEAR}(?![\w/]|[.-]\d){_UNIT}",
            rf"{_YEAR}[-/](?:0[1-9]|1[0-2])(?![\w/]|[-.]\d){_UNIT}",
            rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[T_-]?\d{{4,6}})?(?!\d)",
        )
    )
)
_SHORT = re.compile(rf"({_DAY})([./-])({_MONTH}|{_DAY})(\.?)(?![\d/-]|[.,-]\d){_UNIT}")
_BEFORE_DASHED = frozenset({"el", "del", "al", "le", "du", "au", "día"})
"""Words before a day and month with a dash between."""
"""Day and month without a year, which a fraction or value looks like."""
_BEFORE_SHORT = words_of("before short")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[.,:]?\s{1,3}$")
_NO_DATE_BEFORE = frozenset({"apgar", "gcs", "gleason", "version", "nyha", "asa"})
_WEEKDAY = re.compile(
    r"\b(?:mon|tues?|wed(?:nes)?|thurs?|fri|sat(?:ur)?|sun)(?:day)?\.?,?(?:\s(?:the|on))?\s{1,2}$|"
    r"\b(?:montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag|mo|di|mi|do|fr|sa|so)\.?,?(?:\s(?:den|dem|der))?\s{1,2}$|"
    r"\b(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)\.?,?(?:\sle)?\s{1,2}$|"
    r"\b(?:lunes|martes|miércoles|jueves|viernes|sábado|domingo)\.?,?(?:\s(?:el|día))?\s{1,2}$",
    re.IGNORECASE,
)
"""Weekday before a date, which goes with it."""
_BORN = words_of("born")
_BIRTH_YEAR = re.compile(
    r"(?:\s(?:in|im|en|on|year|jahr|jahre|el año|year of birth|l['’]année|about|around|circa))?\s?[:.]?\s{0,2}(1[89]\d\d)(?![\w.-]?\d)",
    re.IGNORECASE,
)
_LAST_YOUNG = "1937"
"""A year of birth up to which may tell of an age over 89."""
_MONTH_CUES = words_of("month cues")
"""Words before a month alone that tell it is one of a person's."""
_TIME = re.compile(
    r"[,;]?\s{1,2}(?:at |um |à |a las )?(?:[01]?\d|2[0-3])(?:[:h.]?[0-5]\d|\s?h|\s?uhr|\s?heures?|\s?[ap]m)\b",
    re.IGNORECASE,
)
_DAYS_ONLY: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "the": (
        "on by of until from since",
        re.compile(
            r"\s\d{1,2}(?:st|nd|rd|th)(?=\s*(?:[.,;:)\n]|$|[-–]|(?:and|at|for|he|she|they|the|with|by|after|before|in|we|to|as|from|when|but|if)\b|[A-Z]))"
        ),
    ),
    "día": ("", re.compile(r"\s\d{1,2}\b(?! de (?:ingreso|vida|evolución|tratamiento|estancia))")),
    "le": (
        "",
        re.compile(
            r"\s(?:[1-9]|[12]\d|3[01])(?:er)?(?=\s*(?:[.,;:)\n]|$)|\s(?:au matin|au soir|dernier|courant|prochain|à|pour|dans|il|elle)\b)"
        ),
    ),
    "am": (
        "",
        re.compile(
            r"\s(?:[1-9]|[12]\d|3[01])\.(?=\s*(?:[,;)\n]|$)|\s(?!(?:post|prä|tag|lebens|behandlungs|bein|op|stationär|auf)\w*)[a-zäöü]|\s(?!Post|Tag|Lebens|Behandlung|OP)[A-ZÄÖÜ])"
        ),
    ),
}
"""Word -> what must stand before it, and what a day of a month looks like behind it."""

_MONTHS = {
    "en": "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec",
    "de": "januar jänner februar feber märz maerz april mai juni juli august september oktober november dezember "
    "jan feb mär mrz apr jun jul aug sep sept okt nov dez",
    "fr": "janvier février fevrier mars avril mai juin juillet août aout septembre octobre novembre décembre decembre "
    "janv févr fév fevr avr juil sept oct nov déc dec",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre "
    "ene feb mar abr may jun jul ago sep sept oct nov dic",
}


def _by_month() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for language, months in _MONTHS.items():
        for month in months.split():
            found.setdefault(month, set()).add(language)
    return {month: frozenset(languages) for month, languages in found.items()}


_LANGUAGES_OF = _by_month()
_WEAK = frozenset({"may", "march", "mar", "mars", "ago", "sept", "mai", "jan", "dec", "august"})
"""Months that are another word as well: a day or a year must stand by, and in small letters both, or the right language."""
_ORDINAL = words_of("ordinals")
_DAY_BEFORE = re.compile(
    rf"(?<![\d.,/:])(?:{_DAY}\.?\s?(?:-|–|/|&|to|bis|und|and|al|au|et|y|u\.|,)\s?(?:el |le |the )?)?"
    rf"(?:{_DAY}(?:st|nd|rd|th|er|ro|\.|º|°|ª)?|(?:{'|'.join(sorted(_ORDINAL, key=len, reverse=True))}))"
    r"[\s./,-]{0,3}(?:of\s{1,2}|de\s{1,2}|día de\s)?$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"\.?,?[\s./-]{0,3}(?:(?:del?|of)\s{1,2}(?:año\s)?)?(?P<year>(?:19|20)\d\d|['’]\d\d)(?![\w/]|[.,]\d)", re.IGNORECASE
)
_SHORT_YEAR = re.compile(r"\.?[-/. ]\d\d(?![\w/%]|[.,:]\d)")
_THEN_DAY = re.compile(
    rf"\.?\s{{1,2}}(?:the\s)?{_DAY}(?:st|nd|rd|th)?(?:\s?(?:-|–|to|and)\s?{_DAY}(?:st|nd|rd|th)?)?(?![\w%/]|[.,:]\d){_UNIT}"
    r"(?:,?\s{1,2}(?:19|20)\d\d(?!\d)|,\s?'?\d\d(?!\d))?",
    re.IGNORECASE,
)

_FOUR = re.compile(r"\d{4}")
_DATE_WORDS = _BORN | _DAYS_ONLY.keys()
_OLD = re.compile(r"(?:9\d|1[01]\d)(?!\d)")
_OLD_AFTER = re.compile(
    r"[\s-]{0,2}(?:years?|yrs?|yr|y)[\s-]{0,2}(?:old|of age|o\b)|\s?(?:y\.?/?o\.?|yo|yom|yof)\b|[\s-]{0,2}(?:jährig|jaehrig)\w*|-?j\.|"
    r"\s(?:Jahren?|J\.)(?:\salt\w*)?|\s?ans\b|\s?años\b|\s?a\.(?=\s)|\s?(?:yo)?\s?[MF]\b",
    re.IGNORECASE,
)
_AT_AGES = cue({"at", "aged", "age"})
_AT_AGE = re.compile(r"[ ](?:the age of[ ])?(?P<age>9\d|1[01]\d),?[ ](?=(?:he|she|they|Mr|Mrs|Ms)\b)", re.IGNORECASE)
_IN_COMMAS = re.compile(r",\s(?:9\d|1[01]\d)(?=,\s[a-z])")
"""An age between commas behind a name: Mrs Ash, 94, is."""
_GROUP_BEFORE = re.compile(
    r"(?:over|above|under|below|beyond|than|least|most|über|unter|ab|als|bis|plus|moins|más|menos|mayor(?:es)?|menor(?:es)?|de plus|of over|≥|>|<|≤)(?:\s(?:de|von|que|à))?\s?$",
    re.IGNORECASE,
)
"""Before an age, that it is one of a group."""
_AGE_WORDS = words_of("age words")
_AGED = re.compile(r"(?:\s(?:is|von|de|of|now))?\s?[:=|]?\s{0,2}(?:9\d|1[01]\d)(?![\d.,/%-]\d|%)", re.IGNORECASE)
_OLD_WORDS = words_of("old words")
_SPELT_AGES: Mapping[str, re.Pattern[str]] = {
    "ninety": re.compile(
        r"(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?(?!\s(?:percent|per cent|minutes|days|degrees|mg|milli\w+))"
    ),
    "hundred": re.compile(
        r"(?:[\s-]and[\s-]\w{3,5})?(?=[\s-](?:years?|y/?o)|(?<=-hundred)|(?<=-\w{3})|(?<=-\w{4})|(?<=-\w{5}))"
    ),
    "quatre": re.compile(
        r"-vingt-(?:dix|onze|douze|treize|quatorze|quinze|seize|dix-sept|dix-huit|dix-neuf)(?=\s?ans\b)", re.IGNORECASE
    ),
    "noventa": re.compile(r"(?: y \w{3,6})?(?=\saños\b)", re.IGNORECASE),
}
_AT_DATES = cue(
    _LANGUAGES_OF.keys() | _DATE_WORDS | _SPELT_AGES.keys() | _AGE_WORDS | _OLD_WORDS, lambda word: "neunzig" in word
)


def find_dates(seen: Text) -> Iterator[Finding]:
    """Yield dates in numbers and in words, and ages over 89."""
    text = seen.text
    for maybe in _MAYBE.finditer(text):
        if _is_free(text, maybe.start()):
            yield from _with_weekday(text, _in_numbers(text, maybe.start()))
    for i in seen.at(_AT_DATES):
        word = seen.folded[i]
        if word in _LANGUAGES_OF:
            yield from _with_weekday(text, _in_words(seen, i))
        elif word in _DATE_WORDS:
            yield from _day_or_year(seen, i)
        elif word in _SPELT_AGES or word in _AGE_WORDS:
            if age := _SPELT_AGES.get(word, _AGED).match(text, seen.ends[i]):
                yield Finding(Kind.AGE_OVER_89, seen.starts[i], age.end())
        elif word in _OLD_WORDS or "neunzig" in word:
            yield Finding(Kind.AGE_OVER_89, seen.starts[i], seen.ends[i])
    yield from _ages(seen)
    yield from find_spoken_dates(seen)


def _day_or_year(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the day of a month behind "on the" and the like, and the year of birth of who may be over 89."""
    text, word = seen.text, seen.folded[i]
    if word in _BORN and (born := _BIRTH_YEAR.match(text, seen.ends[i])) and born[1] <= _LAST_YOUNG:
        yield Finding(Kind.DATE, born.start(1), born.end())
    if word in _DAYS_ONLY:
        before, pattern = _DAYS_ONLY[word]
        fits = not before or (i and seen.folded[i - 1] in before.split())
        if fits and (day := pattern.match(text, seen.ends[i])):
            yield Finding(Kind.DATE, seen.starts[i], day.end())


def _ages(seen: Text) -> Iterator[Finding]:
    text = seen.text
    for i in seen.at(_AT_AGES):
        if at_age := _AT_AGE.match(text, seen.ends[i]):
            yield Finding(Kind.AGE_OVER_89, at_age.start("age"), at_age.end("age"))
    for age in _OLD.finditer(text):
        is_one = _is_free(text, age.start()) and not _GROUP_BEFORE.search(text, max(0, age.start() - 16), age.start())
        if is_one and (after := _OLD_AFTER.match(text, age.end())):
            yield Finding(Kind.AGE_OVER_89, age.start(), after.end())
    for m in _IN_COMMAS.finditer(text):
        if m.start() and text[m.start() - 1].isalpha():
            yield Finding(Kind.AGE_OVER_89, m.start(), m.end())


def _with_weekday(text: str, found: Iterator[Finding]) -> Iterator[Finding]:
    for finding in found:
        weekday = _WEEKDAY.search(text, max(0, finding.start - 24), finding.start)
        yield Finding(finding.kind, weekday.start(), finding.end) if weekday else finding


def _is_free(text: str, start: int) -> bool:
    """Whether no number goes on from before a place."""
    if start == 0:
        return True
    before = text[start - 1]
    if before.isalnum() or before == "_":
        return False
    return before not in ".,/" or start == 1 or not text[start - 2].isdecimal()


def _in_numbers(text: str, start: int) -> Iterator[Finding]:
    before = _WORD_BEFORE.search(text, max(0, start - 20), start)
    if before is not None and before[1].casefold() in _NO_DATE_BEFORE:
        return
    if m := _NUMERIC.match(text, start):
        yield Finding(Kind.DATE, start, m.end())
        return
    if m := _SHORT.match(text, start):
        cued = before is not None and before[1].casefold() in _BEFORE_SHORT
        dotted = m[2] == "." and m[4] == "." and len(m[1] + m[3]) == 4 and text[m.end() : m.end() + 1] in " -–)"
        ends = not text[m.end() : m.end() + 2].strip() or text[m.end() + 1 : m.end() + 2].isupper()
        timed = m[2] == "/" and _TIME.match(text, m.end()) is not None
        dashed = m[2] == "-" and before is not None and before[1].casefold() in _BEFORE_DASHED
        if timed or dashed or (cued and (m[2] == "/" or m[4])) or (dotted and not ends):
            yield Finding(Kind.DATE, start, m.end())


def _in_words(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the date that the month at word ``i`` is part of."""
    text, word = seen.text, seen.folded[i]
    languages, is_capital = _LANGUAGES_OF[word], seen.words[i][0].isupper()
    start, end = seen.starts[i], seen.ends[i]
    day = _DAY_BEFORE.search(text, max(0, start - 40), start)
    if day and not _is_free(text, day.start()):
        day = None
    year = _AFTER.match(text, end)
    at_home = seen.language in languages and (word not in _WEAK or is_capital or seen.language != "en")
    if year and (day or word not in ("ago", "may") or is_capital):
        yield Finding(Kind.DATE, day.start() if day else start, year.end())
    elif day and (at_home or (word not in _WEAK and is_capital)):
        short = _SHORT_YEAR.match(text, end)
        yield Finding(Kind.DATE, day.start(), short.end() if short else end)
    elif (
        "en" in languages
        and (then := _THEN_DAY.match(text, end))
        and (word not in _WEAK or is_capital or (seen.is_small and _FOUR.search(then[0])))
    ):
        yield Finding(Kind.DATE, start, then.end())
    elif at_home and i and seen.folded[i - 1] in _MONTH_CUES and seen.before(i) in (" ", "\n"):
        yield Finding(Kind.DATE, start, end)
