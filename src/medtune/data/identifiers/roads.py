"""Finds streets with their numbers, as four languages write them."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import UPPER, Text, cue
from medtune.data.identifiers.vocabulary import words_of

__all__ = ["CAPITALS", "CITY", "PARTICLE", "find_roads"]

CAPITALS = rf"[{UPPER}][\w'’.]{{0,24}}(?:-[{UPPER}a-z][\w'’]{{0,24}}){{0,5}}"
PARTICLE = r"(?:de|la|le|les|los|las|del|du|des|d['’]|l['’]|el|und|et|y|an|am|der|dem|den|von|vom|zur|zum|im|in|auf|upon|of|the|on|en|sur|sous|saint|sainte|san|santa|st\.?|i|bei|a|à)"
CITY = rf"(?:St\.\s)?(?:(?:La|Le|Les|El|Los|Las)[ ]|L['’])?[{UPPER}][\w'’-]{{1,24}}(?:[ ](?:de la|de los|de las|de|la|del|of|upon|on|sur|am|an der|ob der|vor der|y|d['’][{UPPER}][\w'’-]{{1,24}}|[{UPPER}][\w'’-]{{1,24}})){{0,4}}"
_ROAD = (
    "street|avenue|ave|road|rd|lane|ln|drive|boulevard|blvd|court|ct|place|pl|terrace|close|crescent|gardens|square|highway|hwy|"
    "parkway|pkwy|circle|cir|trail|trl|mews|row|grove|walk|rise|hill|green|park|st|dr|way|view|drove|gate|wharf|quay|common|parade|wynd|brae|vale|chase|meadow|meadows|heights|fields|fold|bank|cottages|esplanade|embankment|loop|pike|turnpike|alley|plaza|path|run|crossing|ridge|landing|bend|yard|mead|croft|villas|broadway|causeway|bypass"
)
_ROADS = frozenset(_ROAD.split("|"))
_BEFORE_ROAD = re.compile(
    r"(?:[A-Z][\w'’]{1,20}\s(?:[A-Z][\w'’]{1,20}\s)?(?:House|Cottage|Farm|Lodge|Court|Rectory|Barn|Mill|Manor),?\s{1,2})?(?:(?:[Ff]lat|[Uu]nit|[Aa]pt\.?|[Aa]partment|[Ss]uite|the|[Nn]o\.?)\s\w{1,6},?\s{1,2})?(?<![\w.,/-])\d{1,5}[A-Za-z]?(?:-\d{1,5}[A-Za-z]?)?,?\s{1,2}(?:[NSEWnsew]\.?[WEwe]?\.?\s|(?:North|South|East|West)\s)?"
    r"(?:(?:[A-Z][\w'’.-]{0,24}|\d{1,3}(?:st|nd|rd|th)|of|the|and|de|la|el)\s{1,2}){1,4}$"
)
_LOWER_ROAD = re.compile(r"(?<![\w.,/-])\d{1,5}[a-z]?,?\s(?:[a-z][\w'’-]{2,20}\s){1,3}$")
_SURE_ROADS = words_of("sure roads")
_AFTER_ROAD = re.compile(
    r"\.?(?:\s(?:N|S|E|W|NE|NW|SE|SW)\b\.?)?(?:,?\s{1,2}(?:apt\.?|apartment|suite|ste\.?|unit|flat|floor|#|fl\.?)\s?#?\s?[\w-]{1,6}\b)?",
    re.IGNORECASE,
)
_HOUSE_NAME = re.compile(
    r"(?:^|[\n:|]|\bat|\bof)\s{0,4}((?:[A-Z][\w'’]{1,20}\s){0,2}[A-Z][\w'’]{1,20},\s{1,2}(?:\d{1,4}[a-z]?\s)?)$"
)
_NAMED_ROAD = re.compile(r"(?:[A-Z][\w'’-]{1,24}\s){1,2}$")
_SURE_GERMAN_ROADS = ("straße", "strasse", "gasse")
_GERMAN_ROADS = tuple(sorted(words_of("german roads")))
_GERMAN_NUMBER = re.compile(
    r"\.?,?\s{1,2}(?:Nr\.\s?)?\d{1,4}(?:\s?[a-h](?!\w))?(?:\s?[-/]\s?\d{1,4}(?:\s?[a-h](?!\w))?)?(?![\w.,]?\d|\s?(?:mg|ml|%|cm|mm|x\b|Tage|Jahre|h\b|Std|Uhr))(?:,\s\d{1,2}\.\s?(?:OG|Og|og|Stock|Etage|DG|UG)\b|,\s(?:EG|DG)\b)?"
)
_GERMAN_PREPOSITIONS = words_of("german prepositions")
_GERMAN_AT = re.compile(
    r"(?:[Aa]n? der|[Aa]m|[Aa]n den|Im|In der|In den|Auf der|Auf dem|Zum|Zur|Unter den|Hinter der|Vor dem|Beim|Bei der)\s"
    r"(?:[a-zäöüß]{3,12}n\s)?(?:[A-ZÄÖÜ][a-zäöüß-]{2,24}\s){1,2}\d{1,3}(?:\s?[a-h](?!\w))?(?=\s*(?:[,;)\n]|$|in\b|\d{5}\b))"
)
_HOUSE = re.compile(r"\d{1,4}(?:\s?(?:bis|ter|quater|[A-D]))?\s?,?\s{1,2}$")
_FRENCH_ROAD = re.compile(
    r"(?:\d{1,4}(?:\s?(?:bis|ter|quater|[A-D])\b)?\s?,?\s{1,2})?(?:rue|avenue|av\.|boulevard|bd\.?|bld|place|pl\.|allées?|chemin|impasse|quai|route|cours|square|passage|faubourg|villa|résidence|sentier|lotissement|hameau|ruelle|esplanade|montée|traverse|rond-point|lieu-dit|lieudit|clos|domaine|zone|voie|sente|mail|parvis|promenade|venelle|cité)\s{1,2}"
    rf"(?:(?:{PARTICLE})\s?){{0,3}}{CAPITALS}(?:[\s-](?:(?:{PARTICLE})\s?){{0,3}}{CAPITALS}){{0,4}}|"
    r"\d{1,4}(?:\s?(?:bis|ter)\b)?\s?,?\s{1,2}(?:rue|avenue|boulevard|bd|place|allée|chemin|impasse|quai|route)\s(?:[\w'’-]{1,20}\s?){1,4}(?=[,;\n.(]|$|\s\d{5}\b)",
    re.IGNORECASE,
)
_FRENCH_WORDS = words_of("french words")
_FRENCH_BUILDING = re.compile(
    r"\b(?:résidence|immeuble|bâtiment|bât|appt?|appartement|hameau|villa|le|la|les)\b\.?[^\n,;:]{1,40},\s(?:(?:bât|appt?|esc|étage|entrée)\.?\s?\w{1,3},\s)?$",
    re.IGNORECASE,
)
_SPANISH_ROAD = re.compile(
    r"(?:C/|Cl\.|Calle|Avenida|Avda?\.?|Avd\.|Av\.|Plz\.|Bda\.|Res\.|Cra\.|Cno\.|Partida|Ptda\.|Plaza|Pza\.?|Pl\.|Paseo|P[º°.]|Camino|Carretera|Ctra\.?|Ronda|Travesía|Urbanización|Urb\.|Glorieta|Callejón|Rambla|Gran Vía|Passeig|Carrer|Rúa|Pasaje|Barrio|Polígono|Cuesta|Costanilla)\s{0,2}"
    rf"(?:(?:{PARTICLE})\s){{0,3}}{CAPITALS}(?:\s(?:(?:{PARTICLE})\s){{0,3}}{CAPITALS}){{0,4}}(?:\s?,?\s{{0,2}}(?:n[º°.o]{{0,2}}\s?|número\s|núm\.?\s|nro\.?\s|km\.?\s|casa\s|bajo\s|piso\s|portal\s|bloque\s)?\d{{1,4}}(?:[- ]?[A-D]\b)?(?:\s?,?\s{{0,2}}\d{{1,2}}\s?[º°ªo]\.?(?:\s?[A-Z]\b|\s(?:izq|dcha|izquierda|derecha)\.?)?)?|,?\s?s/n)?",
    re.IGNORECASE,
)
_SPANISH_WORDS = words_of("spanish words")
_ROAD_WORDS = _ROADS | _FRENCH_WORDS | _SPANISH_WORDS
_AT_ROADS = cue(_ROAD_WORDS | _GERMAN_PREPOSITIONS, lambda word: word.endswith(_GERMAN_ROADS))


def find_roads(seen: Text) -> Iterator[Finding]:
    """Yield streets."""
    for i in seen.at(_AT_ROADS):
        word = seen.folded[i]
        if word in _ROAD_WORDS or word.endswith(_GERMAN_ROADS):
            yield from _roads(seen, i)
        if (
            seen.language == "de"
            and word in _GERMAN_PREPOSITIONS
            and (m := _GERMAN_AT.match(seen.text, seen.starts[i]))
        ):
            yield Finding(Kind.PLACE, m.start(), m.end())


def _roads(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the street whose word for one is word ``i``."""
    text, word, start, end = seen.text, seen.folded[i], seen.starts[i], seen.ends[i]
    is_capital = seen.words[i][0].isupper()
    if word in _ROADS:
        before = _BEFORE_ROAD.search(text, max(0, start - 70), start)
        before = before or (_LOWER_ROAD.search(text, max(0, start - 60), start) if word in _SURE_ROADS else None)
        if before and not (len(word) < 4 and seen.words[i].isupper()):
            after = _AFTER_ROAD.match(text, end)
            yield Finding(Kind.PLACE, before.start(), after.end() if after else end)
        elif word in _SURE_ROADS and is_capital and (named := _NAMED_ROAD.search(text, max(0, start - 40), start)):
            house = _HOUSE_NAME.search(text, max(0, named.start() - 60), named.start())
            yield Finding(Kind.PLACE, house.start(1) if house else named.start(), end)
    if word in _FRENCH_WORDS:
        first = _HOUSE.search(text, max(0, start - 12), start)
        at = first.start() if first else start
        if (m := _FRENCH_ROAD.match(text, at)) and (first or _has_capital(m[0], word)):
            building = _FRENCH_BUILDING.search(text, max(0, at - 70), at)
            yield Finding(Kind.PLACE, building.start() if building else at, m.end())
    spanish = _SPANISH_ROAD.match(text, start) if word in _SPANISH_WORDS else None
    if spanish and (is_capital or seen.language == "es") and _has_capital(spanish[0], word):
        is_street = len(word) > 3 or any(map(str.isdecimal, spanish[0]))  # C/ alone is none
        yield from [Finding(Kind.PLACE, start, spanish.end())] if is_street else []
    if (
        (seen.language == "de" or word.endswith(_SURE_GERMAN_ROADS))
        and word.endswith(_GERMAN_ROADS)
        and (is_capital or len(word) > 8)
        and (m := _GERMAN_NUMBER.match(text, end))
    ):
        yield Finding(Kind.PLACE, seen.starts[_first_of_road(seen, i)], m.end())


def _first_of_road(seen: Text, i: int) -> int:
    """Return the word that a German street begins with: Karl-von-der-Linde-Str., Lange Straße."""
    first = i
    while first and i - first < 4 and seen.before(first) in ("-", " "):
        hyphen = seen.before(first) == "-"
        if not (hyphen or (seen.words[first - 1][0].isupper() and seen.folded[i] in _GERMAN_ROADS)):
            break
        first -= 1
    return first


def _has_capital(found: str, word: str) -> bool:
    """Whether a name with a capital stands behind the word for a street."""
    rest = found[found.casefold().find(word) + len(word) :]
    return re.search(r"[A-ZÀ-Þ]", rest) is not None
