"""Finds places smaller than a state: postcodes, cities, counties, and streets with what stands behind them."""

import re
from collections.abc import Iterator, Mapping

from medtune.data.identifiers.eponyms import METHOD_BEFORE, METHODS
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.regions import HOSPITALS, find_regions
from medtune.data.identifiers.roads import CAPITALS, CITY, PARTICLE, find_roads
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import not_names, place_words, words_of

__all__ = ["find_places"]

_AREAS = (
    "AB|AL|B|BA|BB|BD|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|E|EC|EH|EN|EX|FK|FY|G|GL|GU|HA|HD|HG|HP|HR|HS|HU|HX|IG|IP|"
    "IV|KA|KT|KW|KY|L|LA|LD|LE|LL|LN|LS|LU|M|ME|MK|ML|N|NE|NG|NN|NP|NR|NW|OL|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|S|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|"
    "TF|TN|TQ|TR|TS|TW|UB|W|WA|WC|WD|WF|WN|WR|WS|WV|YO|ZE"
)
_UK_CODE = re.compile(
    r"[A-Z](?<!\w[A-Z])(?<=[A-Z])(?:(?<=(?:B|E|G|L|M|N|S|W))|[A-Z])\d[A-Z\d]?\s?\d[ABD-HJLNP-UW-Z]{2}(?!\w)"
)
_UK_AREA = re.compile(rf"(?:{_AREAS})(?=\d)")
_STATES = "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
_STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|"
    "Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|"
    "Ohio|Oklahoma|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia|Wisconsin|Wyoming"
)
_STATE_CODES = frozenset(_STATES.split("|"))
_STATE_BEGINNINGS = frozenset(name.split()[0].casefold() for name in _STATE_NAMES.split("|"))
_STATE = re.compile(rf"(?:{_STATES}|{_STATE_NAMES})\b\.?(?P<zip>,?\s{{1,2}}\d{{5}}(?:-\d{{4}})?\b)?", re.IGNORECASE)
_BEFORE_STATE = re.compile(rf"{CITY},\s{{1,2}}$")
_DEGREES = words_of("places degrees")
"""States that are a degree or a word as well."""
_CODE_WORDS = words_of("code words")
_BOXES = frozenset({"postfach", "bp", "apartado", "correos"})
_POST = re.compile(r"\b(?:p\.?\s?o\.?|[rh][rc]\s?\d{1,3},?)\s$", re.IGNORECASE)
_CODE = re.compile(
    r"(?: ?code)?\.?\s?[:#]?\s{0,2}((?:[DF]-)?(?:\d{4,5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{1,3}(?: \d{2,3}){1,3}|\d{1,4}))(?![\w.,]?\d)"
)
_CODE_CITY = re.compile(rf"\d(?<![\w.,/]\d)\d{{3,4}}\s{{1,2}}(?P<city>{CITY})(?:\s(?:Cedex|CEDEX)(?:\s\d{{1,2}})?)?")
_COUNTRY = re.compile(r"\b(?:D|F|E|A|CH|DE|FR|ES)-$|\b(?:D|F|CH|DE|FR) $|\b[dfa]-$")
_LINE_END = re.compile(r"\s{0,3}(?:[,;.)(\n|]|$|-|–)")
_LINE_START = re.compile(r"(?:^|[\n,;|(:]|\bin|\bà|\ben|\bat|-|–|·)\s{0,3}$")
_CUES: Mapping[str, frozenset[str]] = {
    last: frozenset(before.split())
    for last, before in {
        "in": "daughter son sister brother mother father parents family cousin uncle aunt farm house home work job church facility pharmacy shop store office stayed staying holiday grew spent spends live lives living lived reside resides residing resided resident born raised moved relocated works worked retired home wohnhaft wohnt wohnend lebt lebend geboren geb ansässig",
        "from": "moved originally transferred relocated travelled traveled flew comes hails",
        "at": "lives living residing resides address",
        "to": "moved relocated transferred travelled traveled flew retired",
        "of": "resident town city village suburb native outside",
        "near": "lives living",
        "outside": "lives living",
        "aus": "gebürtig stammt kommt gebürtiger",
        "nach": "umgezogen gezogen verlegt",
        "à": "fait fille fils mère père famille frère sœur maison habite habitant habitait demeurant domicilié domiciliée réside résidant résident vit né née hospitalisé hospitalisée suivi suivie déménagé",
        "de": "originaire ville commune canton département quartier natural vecino vecina procedente barrio provincia municipio localidad pueblo comarca ciudad trasladado trasladada",
        "en": "hija hijo madre padre familia hermano hermana casa trabaja vive reside residente domicilio domiciliado domiciliada nacido nacida empadronado empadronada habite",
        "desde": "trasladado trasladada", "a": "trasladado trasladada",
    }.items()
}  # fmt: skip
"""Word -> words one of which must stand before it, so that a place follows."""
_LABELS = words_of("places labels")
"""Words that a colon and then a place stand behind."""
_MOVED = re.compile(
    r"\b(?:moved|relocated|emigrated|came|born|transferred|raised|lived|retired|drove|returned|travell?ed|flew|commutes)\b[^.\n]{0,32}$"
)
_GERMAN_PARTS = words_of("german parts")
_WITHIN = frozenset({" ", "-", "'", ". ", "’", "  ", "\n"})
_OF_INSTITUTIONS = frozenset(["general", "royal", "community", "district", "memorial", "university", "road", "street"])
_CUED_CITY = re.compile(rf"(?:the )?{CAPITALS}(?:[\s-](?:(?:{PARTICLE})\s){{0,2}}{CAPITALS}){{0,3}}")
_IN_ADDRESS = re.compile(
    rf"(?:[ ]?[,;|]|\s[-–]|\n|\sin(?=\s[A-ZÄÖÜ])|\sà(?=\s[A-Z])|\sde(?=\s[A-Z]))\s{{0,3}}(?:\d{{1,2}}[.º°ªo]{{1,2}}\s?(?:[A-Z]\b|OG|Stock|piso|étage|izq\.?|dcha\.?)?[,\s]{{1,3}})?"
    rf"(?:(?P<code>(?:[A-Za-z]{{1,2}}-)?\d{{4,5}}(?:-\d{{4}})?\b|[A-Z]{{1,2}}\d[A-Z\d]?\s?\d[A-Z]{{2}}\b)(?:[\s,-]{{1,4}}(?:in\s)?{CITY})?|{CITY}(?:,?\s(?:[A-Z]{{2}}\b|[A-Z]{{1,2}}\d[A-Z\d]?\s?\d[A-Z]{{2}}\b)(?:\s\d{{5}})?)?)"
)
"""A postcode, a town or both behind a street."""
_BEFORE_TOWN = re.compile(r"[\s,;|–-]*(?:(?:in|à|de)\s)?")
_BEFORE_CODE = re.compile(rf"{CITY}(?:,?\s{{1,2}}|,\s{{0,2}})$")
_DATELINE = re.compile(
    rf"(?:^|\n|\s\s|\.\s)\s{{0,8}}(?P<city>{CITY}),\s(?=(?:den|le|a|am|el)\s(?:\d{{1,2}}|\w{{4,10}},?\s(?:den\s)?\d))"
)
_DATELINE_SIGNS = (", den ", ", le ", ", a ", ", am ", ", el ")
_IN = {language: words_of(f"in {language}") for language in ("de", "en", "fr", "es")}
"""Words before a place that is a word as well."""
_AT_WORDS = cue(_CODE_WORDS | _CUES.keys() | _LABELS | _STATE_BEGINNINGS | {code.casefold() for code in _STATE_CODES})
_AT_PLACES = cue(place_words()[1].keys())


def find_places(seen: Text) -> Iterator[Finding]:
    """Yield streets, postcodes, cities and counties, and what stands behind a street in an address."""
    for finding in (*find_roads(seen), *find_regions(seen), *_by_words(seen), *_codes(seen), *_listed(seen)):
        yield finding
        more = _IN_ADDRESS.match(seen.text, finding.end)
        if more and (more["code"] or _LINE_END.match(seen.text, more.end())):
            yield Finding(Kind.PLACE, _BEFORE_TOWN.match(seen.text, finding.end).end(), more.end())  # type: ignore[union-attr]  # it matches nothing too


def _by_words(seen: Text) -> Iterator[Finding]:
    """Yield places that a word beside them tells."""
    for i in seen.at(_AT_WORDS):
        word = seen.folded[i]
        if word in _CODE_WORDS:
            yield from _code(seen, i)
        if _is_state(seen, i):
            yield from _with_state(seen, i)
        if word in _CUES or word in _LABELS:
            yield from _cued(seen, i)


def _is_state(seen: Text, i: int) -> bool:
    code = seen.words[i].upper() if seen.is_small else seen.words[i]
    return (seen.language == "en" and code in _STATE_CODES) or seen.folded[i] in _STATE_BEGINNINGS


def _code(seen: Text, i: int) -> Iterator[Finding]:
    """Yield a postcode or a post box behind the word for it."""
    if seen.folded[i] in ("bp", "cp") and seen.language not in ("fr", "es"):
        return
    if seen.folded[i] == "box" and not _POST.search(seen.text, max(0, seen.starts[i] - 10), seen.starts[i]):
        return
    if code := _CODE.match(seen.text, seen.ends[i]):
        post = _POST.search(seen.text, max(0, seen.starts[i] - 10), seen.starts[i])
        start = post.start() if post else seen.starts[i] if seen.folded[i] in _BOXES else code.start(1)
        yield Finding(Kind.PLACE, start, code.end())


def _with_state(seen: Text, i: int) -> Iterator[Finding]:
    """Yield a city before a state, and the ZIP code behind it."""
    text = seen.text
    state = _STATE.match(text, seen.starts[i])
    if state is None:
        return
    city = _BEFORE_STATE.search(text, max(0, seen.starts[i] - 64), seen.starts[i])
    has_zip = state["zip"] is not None
    if city and (has_zip or seen.words[i] not in _DEGREES or _is_place(city[0])):
        yield Finding(Kind.PLACE, city.start(), state.end())
    elif has_zip:
        yield Finding(Kind.PLACE, seen.starts[i], state.end())


def _codes(seen: Text) -> Iterator[Finding]:
    """Yield British postcodes, and cities behind their postcode."""
    text = seen.text
    for m in _UK_CODE.finditer(text):
        if _UK_AREA.match(m[0].upper()):
            town = _BEFORE_CODE.search(text, max(0, m.start() - 60), m.start())
            yield Finding(Kind.PLACE, town.start() if town else m.start(), m.end())
    for m in _DATELINE.finditer(text) if any(sign in text for sign in _DATELINE_SIGNS) else ():
        yield Finding(Kind.PLACE, m.start("city"), m.end("city"))
    for m in _CODE_CITY.finditer(text):
        framed = _LINE_START.search(text, max(0, m.start() - 6), m.start()) and _LINE_END.match(text, m.end())
        before = _COUNTRY.search(text, max(0, m.start() - 3), m.start())
        if before or (framed and seen.language != "en") or _is_place(m["city"]):
            yield Finding(Kind.PLACE, before.start() if before else m.start(), m.end())


def _is_place(text: str) -> bool:
    words = tuple(re.findall(r"[^\W\d_]+", text.casefold()))
    every = place_words()[1]
    return any(name == words[at : at + len(name)] for at in range(len(words)) for name in every.get(words[at], ()))


def _cued(seen: Text, i: int) -> Iterator[Finding]:
    """Yield what stands behind "lives in" and the like."""
    text, word, at = seen.text, seen.folded[i], i + 1
    if at >= len(seen.words) or not seen.words[at][0].isupper():
        return
    gap = seen.between(i)
    is_label = word in _LABELS and gap.strip(' "') in ((":", "") if word in _GERMAN_PARTS else (":",))
    is_cue = (
        word in ("from", "to", "in")
        and seen.language == "en"
        and gap == " "
        and _MOVED.search(text, max(0, seen.starts[i] - 48), seen.starts[i]) is not None
    ) or (word in _CUES and i > 0 and gap in (" ", "\n") and seen.folded[i - 1] in _CUES[word])
    place = _CUED_CITY.match(text, seen.starts[at]) if is_label or is_cue else None
    if place is None or seen.folded[at] in not_names():
        return
    end = place.start() + len(place[0].rstrip(".'’"))
    yield Finding(Kind.PLACE, place.start(), end)


def _listed(seen: Text) -> Iterator[Finding]:
    """Yield places of the list; those that are a word as well only behind a preposition."""
    clear, every = place_words()
    taken = -1
    for i in seen.at(_AT_PLACES):
        word = seen.folded[i]
        if i <= taken or word not in every or not seen.words[i][0].isupper():
            continue
        name = next((name for name in every[word] if _stands_at(seen, i, name)), None)
        if name is None:
            continue
        last = i + len(name) - 1
        if _is_meant(seen, i, last, is_clear=name in clear.get(word, ())):
            yield Finding(Kind.PLACE, seen.starts[i], seen.ends[last])
            taken = last


def _stands_at(seen: Text, i: int, name: tuple[str, ...]) -> bool:
    last = i + len(name) - 1
    if tuple(seen.folded[i : last + 1]) != name:
        return False
    return all(seen.between(k) in _WITHIN for k in range(i, last))


def _is_meant(seen: Text, i: int, last: int, *, is_clear: bool) -> bool:
    """Whether words that are the name of a place stand for it, and not for a method, a study or an institution."""
    folded, behind = seen.folded, seen.between(last)
    after = folded[last + 1] if last + 1 < len(folded) and len(behind) < 3 else ""
    before, two_before = folded[i - 1] if i else "", folded[i - 2] if i > 1 else ""
    if after in METHODS or METHOD_BEFORE.intersection((before, two_before)):
        return False
    if seen.before(i).endswith("-") or behind.startswith("-"):
        return False
    preposition = before in _IN[seen.language]
    if not is_clear and not preposition:
        return False
    institution = after in HOSPITALS or after in _OF_INSTITUTIONS or after in place_words()[1]
    if institution or seen.language == "de":
        return True
    if behind == " " and after and seen.words[last + 1][0].isupper() and not seen.is_small:
        return False
    framed = preposition or behind[:1] in ("", *",.;)\n:|") or seen.before(i).endswith((", ", "(", ",\n", ": ", "| "))
    return framed or seen.language != "en"
