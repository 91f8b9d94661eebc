"""Finds identifiers in lines that programs write: HL7, xDT, JSON, delimited rows."""

import re
from collections.abc import Iterator, Mapping

from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import UPPER, Text, cue
from medtune.data.identifiers.vocabulary import known_names, not_names, words_of

__all__ = ["find_in_lines"]

_SEGMENT = re.compile(r"(?:MSH|PID|PD1|PV1|NK1|GT1|IN1|OBR|ORC)\|[^\n]{4,4000}")
_FIELDS: Mapping[str, Mapping[int, Kind]] = {
    "MSH": {3: Kind.PLACE, 5: Kind.PLACE},
    "PID": {2: Kind.RECORD_NUMBER, 3: Kind.RECORD_NUMBER, 4: Kind.RECORD_NUMBER, 5: Kind.NAME, 6: Kind.NAME, 7: Kind.DATE, 9: Kind.NAME,
            11: Kind.PLACE, 12: Kind.PLACE, 13: Kind.PHONE, 14: Kind.PHONE, 18: Kind.ACCOUNT_NUMBER, 19: Kind.SSN, 20: Kind.LICENCE_NUMBER,
            23: Kind.PLACE},
    "PV1": {19: Kind.RECORD_NUMBER},
    "NK1": {2: Kind.NAME, 4: Kind.PLACE, 5: Kind.PHONE, 6: Kind.PHONE, 30: Kind.NAME, 31: Kind.PHONE, 32: Kind.PLACE},
    "GT1": {3: Kind.NAME, 4: Kind.NAME, 5: Kind.PLACE, 6: Kind.PHONE, 7: Kind.PHONE, 8: Kind.DATE, 12: Kind.SSN},
    "IN1": {16: Kind.NAME, 18: Kind.DATE, 19: Kind.PLACE, 36: Kind.HEALTH_PLAN_NUMBER},
    "OBR": {2: Kind.OTHER_NUMBER, 3: Kind.OTHER_NUMBER, 7: Kind.DATE, 17: Kind.PHONE},
    "ORC": {2: Kind.OTHER_NUMBER, 3: Kind.OTHER_NUMBER, 14: Kind.PHONE},
}  # fmt: skip
"""Segment of HL7 version 2 -> field -> what it holds."""
_CODED = {
    "OBR": (4, 13, 15, 31, 44),
    "PV1": (3, 4, 6, 10),
    "ORC": (16,),
    "IN1": (2,),
    "PID": (10, 15, 16, 17, 22),
    "NK1": (3, 7),
}
"""Fields of a code and its words, which are written as a name is."""
_CODED_NAME = re.compile(rf"(?:(?P<id>\w{{2,20}})\^)?(?P<name>[{UPPER}][\w'’ .-]{{1,40}}\^[{UPPER}][\w'’ .-]{{0,30}})")
_LETTERS_OR_DIGITS = re.compile(r"[^\W_](?:[^|]{0,300}[^\W_])?")

_XDT = re.compile(r"(?:^|\n)(?:\d{3})?(?P<field>3\d{3})(?P<value>[^\s\d][^\n]{1,60}|\d{5,12}(?=\s{0,2}(?:\n|$)))")
_XDT_FIELDS = {
    "3000": Kind.RECORD_NUMBER, "3100": Kind.NAME, "3101": Kind.NAME, "3102": Kind.NAME, "3103": Kind.DATE, "3105": Kind.HEALTH_PLAN_NUMBER,
    "3106": Kind.PLACE, "3107": Kind.PLACE, "3112": Kind.PLACE, "3113": Kind.PLACE, "3119": Kind.HEALTH_PLAN_NUMBER, "3626": Kind.PHONE,
}  # fmt: skip
"""Field of xDT, which German practices exchange, -> what it holds."""
_SEPARATORS = ";\t|,"
_FEWEST_FIELDS, _MOST_FIELDS, _WIDEST_FIELD = 3, 41, 60
_DATE_FIELD = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{2,4}|\d{6,12}")
_WORDED = re.compile(
    rf"(?:(?:de|la|del|du|von|van|der|los|le|el) ){{0,3}}[{UPPER}][\w'’.-]{{1,24}}(?:,? (?:(?:de|la|del|du|von|van|der|el|los) ){{0,2}}[{UPPER}][\w'’.-]{{1,24}}){{0,3}}"
)
_CODE_FIELD = re.compile(r"\d{4,5}(?:-\d{4})?")
_NUMBER = re.compile(r"[A-Z]{0,3}\d{4,12}")
_FIRST = 3
"""Fields at the head of a row, where names stand."""
_PLACE_COLUMNS = words_of("places labels")
_NUMBER_COLUMNS = frozenset(
    {"id", "mrn", "patid", "pid", "nhc", "ipp", "iep", "nip", "fallnr", "patnr", "fallnummer", "recordnumber"}
)
_NAME_COLUMNS = words_of("names labels")
_WORDS = re.compile(r"[^\W\d_]+")
_AT_LOGINS = cue({"user", "login", "username", "by"})
_LOGIN = re.compile(r"[ =:]{1,3}(?P<name>[a-z]{2,20}[._][a-z]{2,20})\b")


def find_in_lines(seen: Text) -> Iterator[Finding]:
    """Yield what the fields of such lines hold."""
    text = seen.text
    if "|" in text:
        for segment in _SEGMENT.finditer(text):
            yield from _segment(segment[0], segment.start())
    if "\n3" in text or text.startswith("3") or "\n01" in text:
        yield from _xdt(text)
    if any(map(str.isdecimal, text)) and any(by in text for by in ";\t,|"):
        yield from _rows(text)
    for i in seen.at(_AT_LOGINS):
        if login := _LOGIN.match(text, seen.ends[i]):
            yield Finding(Kind.NAME, login.start("name"), login.end("name"))


def _segment(segment: str, start: int) -> Iterator[Finding]:
    name = segment[:3]
    at = start
    for number, field in enumerate(segment.split("|")):
        kind = _FIELDS[name].get(number)
        if kind and (value := _LETTERS_OR_DIGITS.search(field)):
            yield Finding(kind, at + value.start(), at + value.end())
        elif number and not kind and number not in _CODED.get(name, ()) and (person := _CODED_NAME.match(field)):
            if person["id"]:
                yield Finding(Kind.LICENCE_NUMBER, at + person.start("id"), at + person.end("id"))
            yield Finding(Kind.NAME, at + person.start("name"), at + person.end("name"))
        at += len(field) + 1


def _xdt(text: str) -> Iterator[Finding]:
    found = [line for line in _XDT.finditer(text) if line["field"] in _XDT_FIELDS]
    if any(line["field"] in ("3101", "3102", "3103") for line in found):
        for line in found:
            yield Finding(_XDT_FIELDS[line["field"]], line.start("value"), line.end("value"))


def _rows(text: str) -> Iterator[Finding]:
    """Yield names and places in rows of short fields, one of them a date or a long number."""
    columns: list[Kind | None] = []
    at = 0
    for line in text.split("\n"):
        by = next((by for by in _SEPARATORS if _FEWEST_FIELDS <= line.count(by) + 1 <= _MOST_FIELDS), "")
        fields = _fields(line, by) if by else []
        if len(fields) < _FEWEST_FIELDS or any(len(field) > _WIDEST_FIELD for _, field in fields):
            columns = []
        elif not any(map(str.isdecimal, line)):
            columns = [_column(field) for _, field in fields]
        elif any(_DATE_FIELD.fullmatch(field.strip()) for _, field in fields):
            yield from _fields_of(fields, columns, at)
        at += len(line) + 1


def _fields(line: str, by: str) -> list[tuple[int, str]]:
    """Return the fields with their places; a comma in quotation marks or before a space parts none."""
    found: list[tuple[int, str]] = []
    start, quoted = 0, False
    for at, sign in enumerate(line + by):
        quoted ^= sign == '"'
        if sign == by and not quoted and not (by == "," and line[at + 1 : at + 2] == " "):
            value = line[start:at]
            bare = value.strip(' "')
            found.append((start + (value.find(bare) if bare else 0), bare))
            start = at + 1
    return found


def _column(head: str) -> Kind | None:
    words = {word.casefold() for word in _WORDS.findall(head)}
    if words & _NUMBER_COLUMNS:
        return Kind.RECORD_NUMBER
    return Kind.PLACE if words & _PLACE_COLUMNS else Kind.NAME if words & _NAME_COLUMNS else None


def _fields_of(fields: list[tuple[int, str]], columns: list[Kind | None], start: int) -> Iterator[Finding]:
    before: Kind | None = None
    for number, (at, field) in enumerate(fields):
        kind = columns[number] if number < len(columns) else None
        words = {word.casefold() for word in _WORDS.findall(field)}
        worded = _WORDED.fullmatch(field) is not None and not words & not_names()
        if worded and kind is None:
            likely = number < _FIRST or words & known_names() or (before is Kind.NAME and number == _FIRST)
            kind = Kind.PLACE if before is Kind.PLACE or (number >= _FIRST and not likely) else Kind.NAME
            kind = kind if likely or before is Kind.PLACE or _next_to_code(fields, number) else None
        elif _CODE_FIELD.fullmatch(field) and number >= 2 and _next_to_words(fields, number):
            kind = Kind.PLACE
        elif kind is Kind.RECORD_NUMBER or (number == 0 and _NUMBER.fullmatch(field)):
            kind = Kind.RECORD_NUMBER if any(map(str.isdecimal, field)) else None
        elif not worded:
            kind = None
        if kind:
            yield Finding(kind, start + at, start + at + len(field))
        before = kind


def _next_to_code(fields: list[tuple[int, str]], number: int) -> bool:
    """Whether a postcode or a number stands beside, so that a word is a town."""
    return any(any(map(str.isdecimal, field)) for _, field in fields[number - 1 : number + 2])


def _next_to_words(fields: list[tuple[int, str]], number: int) -> bool:
    return any(_WORDED.fullmatch(field) for _, field in fields[number - 1 : number + 2])
