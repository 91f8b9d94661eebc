"""Durations as people and schedulers write them."""

import re

from medtune.errors import SpecError

__all__ = ["minutes_of"]

_UNITS = {"d": 1440.0, "h": 60.0, "m": 1.0, "s": 1 / 60}
_WORDS = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS))
_CLOCK = re.compile(r"(?:(?P<d>\d+)-)?(?P<h>\d+):(?P<m>[0-5]\d):(?P<s>[0-5]\d)")


def minutes_of(text: str, option: str) -> float:
    """Return the minutes of ``text``: 90m, 3h30m, 1d, 45s, 01:30:00 or 1-12:00:00 (days first).

    Args:
        text: the duration. A number without a unit, and 01:30, mean minutes to one scheduler and seconds or hours to
            another, so both are refused.
        option: name of the option, for the sentence.

    Raises:
        SpecError: it is not such a duration, or none at all (0m).
    """
    found = _WORDS.fullmatch(text.strip().lower()) or _CLOCK.fullmatch(text.strip())
    parts = found.groupdict() if found else {}
    minutes = sum(float(number) * _UNITS[unit] for unit, number in parts.items() if number)
    if minutes <= 0:
        raise SpecError(
            f"{option} '{text}' is not a duration: write 90m, 3h30m, 45s or hours:minutes:seconds, 01:30:00"
        )
    return minutes
