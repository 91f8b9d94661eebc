"""Finds dates as English is dictated: march third twenty twenty one."""

import re
from collections.abc import Iterator

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import Text, cue

__all__ = ["find_spoken_dates"]

_MONTHS = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ]
)
_ORDINAL = (
    r"(?:twenty|thirty)(?:[- ](?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth))|first|second|third|fourth|fifth|sixth|seventh|"
    r"eighth|ninth|tenth|eleventh|twelfth|thirteenth|fourteenth|fifteenth|sixteenth|seventeenth|eighteenth|nineteenth|twentieth|thirtieth"
)
_ONE = r"(?:one|two|three|four|five|six|seven|eight|nine)"
_TEEN = r"(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)"
_YEAR = (
    rf"(?:nineteen|twenty)[- ](?:hundred|(?:oh|o)[- ]{_ONE}|{_TEEN}|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[- ]{_ONE})?)"
    rf"|two thousand(?:(?: and)? (?:{_TEEN}|twenty(?:[- ]{_ONE})?|{_ONE}))?|(?:19|20)\d\d"
)
_DAY_AND_YEAR = re.compile(
    rf" (?:the )?(?:{_ORDINAL}|\d{{1,2}}(?:st|nd|rd|th)?)(?!\w)(?:,? (?:{_YEAR})(?!\w))?", re.IGNORECASE
)
_DAY_BEFORE = re.compile(rf"(?<!\w)(?:the )?(?:{_ORDINAL}) of $", re.IGNORECASE)
_YEAR_BEHIND = re.compile(rf",? (?:{_YEAR})(?!\w)", re.IGNORECASE)
_WEAK = frozenset({"may", "march", "august"})
"""Months that are another word as well."""

_AT_MONTHS = cue(_MONTHS)


def find_spoken_dates(seen: Text) -> Iterator[Finding]:
    """Yield days of a month in words, with the year in words behind them."""
    if seen.language != "en":
        return
    for i in seen.at(_AT_MONTHS):
        word = seen.folded[i]
        start, end = seen.starts[i], seen.ends[i]
        if (day := _DAY_AND_YEAR.match(seen.text, end)) and (word not in _WEAK or len(day[0].split()) > 1):
            yield Finding(Kind.DATE, start, day.end())
        elif before := _DAY_BEFORE.search(seen.text, max(0, start - 24), start):
            year = _YEAR_BEHIND.match(seen.text, end)
            yield Finding(Kind.DATE, before.start(), year.end() if year else end)
