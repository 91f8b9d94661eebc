"""Finds towns and regions by the hospital, county or province that bears their name."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.roads import CAPITALS, CITY, PARTICLE
from medtune.data.identifiers.text import Text, cue
from medtune.data.identifiers.vocabulary import not_names, words_of

__all__ = ["HOSPITALS", "find_regions"]

HOSPITALS = words_of("hospitals")
_HOSPITAL_IN = re.compile(
    rf"(?:\s(?:universitaire|universitario|général|general|régional|regional|clínico|comarcal|intercommunal))?(?:\s(?:in|von|de|d['’]|du|del|de la|at|of))?\s(?P<city>{CITY})"
)
_HOSPITAL_OF = re.compile(
    r"(?P<city>[A-Z][\w'’-]{2,24}(?:[ ](?:upon|on|of)[ ][A-Z][\w'’-]{2,24}|[ ][A-Z][\w'’-]{2,24})?)[ ]"
    r"(?:(?:General|Royal|Community|District|Memorial|University|City|County|Regional|Central|Teaching|Health|Medical|Valley|Family|Internal|Medicine|Urgent|Care|Imaging|Cancer|Heart|Children's|Women's|Surgical|Mercy|Veterans|Physicians|Primary|Street|Road)[ ]){0,3}$"
)
_GERMAN_HOSPITALS = (
    "klinikum",
    "krankenhaus",
    "klinik",
    "kliniken",
    "spital",
    "medizin",
    "hospital",
    "stift",
    "charité",
)
_NO_TOWNS = words_of("no towns")
_REGION_BEFORE = words_of("region before")
_REGION = re.compile(
    rf"\s(?:de\s(?:la\s|los\s|las\s)?|del\s|du\s|d['’]|des\s|of\s)?{CAPITALS}(?:[\s-](?:(?:{PARTICLE})[\s-]){{0,2}}{CAPITALS}){{0,2}}"
)
_COUNTIES = frozenset({"county", "parish", "borough", "township"})
_BEFORE_COUNTY = re.compile(r"(?:[A-Z][\w'’-]{1,20}\s){1,3}$")
_AT_REGIONS = cue(_COUNTIES | _REGION_BEFORE | HOSPITALS, lambda word: word.endswith(("shire", *_GERMAN_HOSPITALS)))


def find_regions(seen: Text) -> Iterator[Finding]:
    """Yield counties, provinces and the like, and the towns of hospitals."""
    for i in seen.at(_AT_REGIONS):
        word = seen.folded[i]
        if word in _COUNTIES:
            yield from _county(seen, i)
        elif word in _REGION_BEFORE:
            yield from _region(seen, i)
        elif word.endswith("shire") and word != "shire" and seen.words[i][0].isupper():
            yield Finding(Kind.PLACE, seen.starts[i], seen.ends[i])
        elif word in HOSPITALS or (seen.language == "de" and word.endswith(_GERMAN_HOSPITALS)):
            yield from _of_hospital(seen, i)


def _county(seen: Text, i: int) -> Iterator[Finding]:
    if named := _BEFORE_COUNTY.search(seen.text, max(0, seen.starts[i] - 64), seen.starts[i]):
        yield Finding(Kind.PLACE, named.start(), seen.ends[i])


def _region(seen: Text, i: int) -> Iterator[Finding]:
    region = _REGION.match(seen.text, seen.ends[i])
    if region and _is_region(seen, i, region[0]):
        yield Finding(Kind.PLACE, seen.starts[i], region.end())


def _is_region(seen: Text, i: int, name: str) -> bool:
    """Whether a region is meant: not "North American", not the start of a sentence alone."""
    word = seen.folded[i]
    if word in ("north", "south", "east", "west", "greater", "mid", "upper", "lower"):
        return seen.words[i][0].isupper() and (
            name.strip()
            .casefold()
            .endswith(
                (
                    "shire",
                    "sex",
                    "folk",
                    "london",
                    "manchester",
                    "side",
                    "yorkshire",
                    "wales",
                    "lothian",
                    "glamorgan",
                    "lanarkshire",
                    "midlands",
                )
            )
        )
    if word in ("county", "kreis", "isla", "isle", "comunidad"):
        return seen.words[i][0].isupper()
    return True


def _of_hospital(seen: Text, i: int) -> Iterator[Finding]:
    """Yield the town in a hospital's name."""
    text = seen.text
    before = _HOSPITAL_OF.search(text, max(0, seen.starts[i] - 60), seen.starts[i])
    if before and seen.words[i][0].isupper() and seen.language == "en":
        name = before["city"].split()[0].casefold()
        if name not in not_names() and name not in _NO_TOWNS:
            yield Finding(Kind.PLACE, before.start("city"), before.end("city"))
    after = _HOSPITAL_IN.match(text, seen.ends[i])
    if after and (" in " in after[0] or " de " in after[0] or seen.language == "de"):
        first = re.split(r"[\s-]", after["city"])[0].casefold()
        if (
            first not in not_names()
            and first not in _NO_TOWNS
            and (seen.language != "de" or " in " in after[0] or seen.words[i][0].isupper())
        ):
            yield Finding(Kind.PLACE, after.start("city"), after.end("city"))
