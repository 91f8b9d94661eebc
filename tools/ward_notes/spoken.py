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
]
_NUMBERS = [
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


def spoken_day(day: date) -> str:
    """Return a day in words, without capitals.

    >>> spoken_day(date(1951, 8, 21)), spoken_day(date(2003, 5, 30))
    ('august twenty first nineteen fifty one', 'may thirtieth two thousand three')
    """
    return f"{_MONTHS[day.month - 1]} {_ordinal(day.day)} {_year(day.year)}"


def _ordinal(number: int) -> str:
    if number <= 20:
        return _ORDINALS[number - 1]
    return "thirtieth" if number == 30 else f"{'thirty' if number > 30 else 'twenty'} {_ORDINALS[number % 10 - 1]}"


def _year(year: int) -> str:
    if 2000 <= year < 2010:
        return " ".join(["two thousand", *_NUMBERS[year - 2001 : year - 2000]]) if year > 2000 else "two thousand"
    return f"{_number(year // 100)} {_number(year % 100) or 'hundred'}"


def _number(number: int) -> str:
    if number < 20:
        return f"{'oh ' if number < 10 else ''}{_NUMBERS[number - 1]}" if number else ""
    tens = _TENS[number // 10 - 2]
    return tens if number % 10 == 0 else f"{tens} {_NUMBERS[number % 10 - 1]}"
