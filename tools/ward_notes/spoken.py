"""Days as English speakers dictate them."""

from datetime import date

_MONTHS = [
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
_SMALL = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBERS = ["hundred", *_SMALL, *(f"{ten} {one}".strip() for ten in _TENS for one in ("", *_SMALL[:9]))]
"""How 1 to 99 are said, and 0 at the end of a year."""

_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "twenty-first",
    "twenty-second",
    "twenty-third",
    "twenty-fourth",
    "twenty-fifth",
    "twenty-sixth",
    "twenty-seventh",
    "twenty-eighth",
    "twenty-ninth",
    "thirtieth",
    "thirty-first",
]
_THOUSANDS = {2000: "two thousand"} | {2000 + year: f"two thousand {_SMALL[year - 1]}" for year in range(1, 10)}


def spoken_day(day: date) -> str:
    """Return a day in words, without capitals.

    >>> spoken_day(date(1951, 8, 21)), spoken_day(date(2003, 5, 30))
    ('august twenty first nineteen fifty one', 'may thirtieth two thousand three')
    """
    century, year = divmod(day.year, 100)
    oh = "oh " * (0 < year <= len(_SMALL[:9]))
    said = _THOUSANDS.get(day.year, f"{_NUMBERS[century]} {oh}{_NUMBERS[year]}")
    return f"{_MONTHS[day.month - 1]} {_ORDINALS[day.day - 1].replace('-', ' ')} {said}"
