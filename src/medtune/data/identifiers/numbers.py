"""Finds numbers that tell by their form, and often by a check digit, whose they are."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from medtune.data.identifiers import checksums
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.text import Text
from medtune.data.identifiers.vocabulary import words_of

__all__ = ["HELP_LINES", "find_numbers", "is_code"]


class _Form(NamedTuple):
    """A form of number; ``check`` gets it in capitals without separators; ``least`` is how many digits it has at least."""

    kind: Kind
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    least: int = 0


_RUN = re.compile(r"[A-Z0-9(+](?<!\w.)(?:[ \t\n\u00a0,./():_-]{0,3}[A-Z0-9]){3,80}+")
"""Capitals and digits with little between them: all that the forms can begin in."""
_D = r"\d(?<![\w.,+]\d)"
"""A digit that nothing goes on into: said behind it, so that a search skips to digits."""
_C = r"[A-Z](?<!\w[A-Z])"
_Z = r"(?!\w)"
_S = r"[ \u00a0.-]?"
_SHORTEST_LONG, _SHORTEST_GROUPED = 7, 8
_SHORTEST_IBAN, _VIN_LENGTH, _SHORTEST_PHONE = 8, 17, 6
_SHORTEST = 5
"""Digits of a number that is no plate and no postcode."""


def _form(kind: Kind, pattern: str, check: Callable[[str], bool] | None = None, least: int = 0) -> _Form:
    return _Form(kind, re.compile(pattern), check, least)


_FORMS = (
    _form(Kind.SSN, rf"{_D}\d\d([- ])\d\d\1\d{{4}}{_Z}(?!-\d)", least=9),
    _form(Kind.HEALTH_PLAN_NUMBER, rf"{_D}\d\d[ -]?\d{{3}}[ -]?\d{{4}}{_Z}", checksums.is_nhs, least=10),
    _form(Kind.SSN, rf"{_D}\d ?\d{{3}} ?\d{{3}} ?\d{{3}}{_Z}", checksums.is_steuer_id, least=11),
    _form(
        Kind.SSN,
        rf"{_D}(?<=[12378]){_S}\d\d{_S}\d\d{_S}(?:\d\d|2[AB]){_S}\d{{3}}{_S}\d{{3}}(?:{_S}\d\d)?{_Z}",
        least=12,
    ),
    _form(Kind.SSN, rf"{_D}(?:\d{{7}}|\d\.\d{{3}}\.\d{{3}})[- ]?[A-Z]{_Z}", checksums.is_dni, least=8),
    _form(Kind.SSN, rf"{_D}\d ?\d{{6}} ?[A-Z] ?\d{{3}}{_Z}", checksums.is_rentennummer, least=11),
    _form(Kind.SSN, rf"{_D}\d[ /-]?\d{{8}}[ /-]?\d\d{_Z}", checksums.is_nuss, least=12),
    _form(Kind.ACCOUNT_NUMBER, rf"{_D}\d{{3}}([ -]?)\d{{4}}\1\d{{4}}\1\d{{1,7}}{_Z}", checksums.is_card, least=13),
    _form(Kind.HEALTH_PLAN_NUMBER, rf"{_D}[A-Z][A-Z0-9]\d-?[A-Z][A-Z0-9]\d-?[A-Z]{{2}}\d\d{_Z}"),
    _form(Kind.DEVICE, rf"[0-9A-F](?<!\w.)[0-9A-F](?:[:-][0-9A-F]{{2}}){{5}}{_Z}"),
    _form(Kind.DEVICE, r"\(01\)\s?\d{14}(?:\s?\(\d\d\)\s?[A-Z0-9/-]{1,20}){0,4}", least=16),
    _form(Kind.SSN, rf"{_C}(?<=[A-CEGHJ-PR-TW-Z])[A-CEGHJ-NPR-TW-Z][ -]?\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D]{_Z}", least=6),
    _form(Kind.SSN, rf"{_C}(?<=[XYZ])[- ]?\d{{7}}[- ]?[A-Z]{_Z}", checksums.is_dni, least=7),
    _form(Kind.HEALTH_PLAN_NUMBER, rf"{_C} ?\d{{3}} ?\d{{3}} ?\d{{3}}{_Z}", checksums.is_kvnr, least=9),
    _form(Kind.LICENCE_NUMBER, rf"{_C}[A-Z9]\d{{7}}{_Z}", checksums.is_dea, least=7),
    _form(Kind.LICENCE_NUMBER, rf"{_C}[CFGHJKLMNPRTVWXYZ0-9]{{8}}\d{_Z}", checksums.is_personalausweis),
    _form(Kind.HEALTH_PLAN_NUMBER, rf"{_C}[A-Z]{{3}}[ \n-]?\d{{6}}[ -]?\d{{4,10}}{_Z}", least=10),
)
_NO_PLATES = frozenset(
    {"MRN", "PCR", "TPM", "RPM", "BPM", "CFM", "MCG", "KCL", "HPF", "CPT", "CDC", "RCP", "LDL", "HDL", "FSH", "TSH"}
)
_PLATES = (
    _form(Kind.VEHICLE, rf"{_C}[A-Z]-\d{{3}}-[A-Z]{{2}}{_Z}"),
    _form(Kind.VEHICLE, rf"{_C}[A-Z]{{0,2}}-[A-Z]{{1,2}} \d{{1,4}}[EH]?{_Z}"),
    _form(Kind.VEHICLE, rf"{_D}\d{{3}}[ -]?[BCDFGHJKLMNPRSTVWXYZ]{{3}}{_Z}", lambda text: text[4:] not in _NO_PLATES),
    _form(Kind.VEHICLE, rf"{_C}[A-Z]\d\d [A-Z]{{3}}{_Z}", lambda text: text[:2] not in ("CD", "CA", "IL", "CK")),
)
_IBAN = re.compile(r"[A-Z](?<!\w[A-Z])[A-Z]\d\d(?:[ \n-]?[A-Z0-9]{4}){2,7}+(?:[ \n-]?[A-Z0-9]{1,3})?")
_VIN = re.compile(r"[A-HJ-NPR-Z0-9](?<!\w.)[A-HJ-NPR-Z0-9]{16}(?!\w)")
_LONG = re.compile(rf"{_D}\d{{6,24}}(?![\w%])(?![.,]\d)")
_MIXED = re.compile(r"[A-Z](?<![\w.*][A-Z])[A-Z0-9]{0,12}+(?:[-_/.][A-Z0-9]{1,12}){0,5}+(?![\w*>]|:[a-z]\.)")
_DIGITS_FIRST = re.compile(
    r"\d(?<![\w.,+]\d)\d{0,8}(?:[-/.]?[A-Z](?!IE|IU|UI|MG|ML|KG|CG)[A-Z]{0,2}[-/.]?\d{1,9}|[-/.]\d{3,7}[-/.][A-Z]{1,3})(?![\w%])"
)
_LABORATORY = re.compile(r"[A-Z](?<!\w.),\d\d\.\d{6,7}\.[A-Z](?!\w)|\d\d(?<![\w.,]\d\d)\.\d{6,7}\.[A-Z](?!\w)")
_TWO_LETTERS = re.compile(r"[A-Z]{2}\d{4}-[A-Z]{2}|[A-Z]{2,4}-\d{4}-[A-Z]{1,3}|\d{2}[A-Z]\d{4}[A-Z]")
_GROUPED = re.compile(r"\d(?<![\w.,+;:]\d)\d{1,5}(?:[-/]\d{1,8}){1,4}+(?![\w%])(?![.,]\d)")

_PHONE = (
    re.compile(r"\+\d{1,3}\)?[\s./-]{0,2}(?:\(0?\d{0,4}\)[\s./-]{0,2})?\d(?:[\s./-]{0,2}\d){6,12}(?!\d)"),
    re.compile(r"\(\+?\d{2,5}\)[ ./-]{0,2}\d{2,4}(?:[ ./-]?\d{2,5}){1,3}(?!\w)"),
    re.compile(rf"\d(?<![\w.,+;:]\d)(?:[-. ]\d\d\d|\d\d)[-. ]\d{{3}}[-. ]\d{{4}}{_Z}(?![-.]\d)"),
    re.compile(r"0(?<![\w.,+]0)\d{2,5}[ ./-]{1,3}\d{2,4}(?:[ ./-]?\d{2,5}){1,4}(?!\w)(?!,\d)"),
    re.compile(r"0(?<![\w.,+]0)[1-9](?:[ .-]?\d\d){4}(?!\w)"),
    re.compile(r"0(?<![\w.,+:]0)0 ?[1-9]\d(?:[ .-]?\d){7,12}(?!\w)"),
    re.compile(r"[6-9](?<![\w.,+].)\d\d(?:([ .-])\d{3}\1\d{3}|([ .-])\d\d\2\d\d\2\d\d|\d{6})(?!\w)(?![.,]\d)"),
    re.compile(r"9(?<![\w.,+].)\d[ .-]\d{3}[ .-]\d\d[ .-]\d\d(?!\w)"),
)
_EXTENSION = re.compile(r",?\s{0,2}(?:ext|extension|x|poste|durchwahl|dw)\.?\s?\d{2,5}\b", re.IGNORECASE)

HELP_LINES = words_of("help lines")
"""Numbers of emergency services and help lines, which are nobody's own."""
_HEX = re.compile(
    r"[A-Za-z]{2,6}[:_-](?=[0-9a-fA-F-]{0,24}\d)(?:[0-9a-f]{4}(?:-[0-9a-f]{4}){2,7}|[0-9A-F]{4}(?:-[0-9A-F]{4}){2,7}|[0-9a-fA-F]{10,64})(?!\w)"
)
_HEX_SIGN = re.compile(r"[:_-](?:[0-9a-fA-F]{10}|[0-9a-fA-F]{4}-[0-9a-fA-F]{4})")
"""What every such code holds."""
_UUID = re.compile(r"[0-9a-fA-F](?<!\w.)[0-9a-fA-F]{7}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)")
_CODES = words_of("codes")
"""Words before a number that is a code of a terminology, a study or a publication."""
_PUBLIC = re.compile(
    r"(?:NCT|PMC|ISRCTN|DRKS|EUCTR|EUDRACT|ORPHA|OMIM|HGNC|ENS[GTPR]|CHEMBL|CHEBI|LRG|N[CMPGR]_|X[MP]_|MK|BMS|AZD|PF|GSK|LY|BAY|BI|"
    r"ABT|AMG|RO|KEYNOTE|CHECKMATE|ICD|ATC|OPS|SNOMED|LOINC|GRCH|HP|MONDO|RS|DOI|CAS|PMID|GO|MESH|SARS|COVID|HLA|ISO|DIN|DSM|"
    r"CYP|TNF|SCT|UMLS|CUI)[-_:.]?\d.*|(?:EN|IL|CD|CA)[-_:.]?\d{1,3}|[A-Z]\d\d[A-Z]{2}\d\d|C\d{7}|[A-TV-Z]\d\d(?:\.\d{1,4}\w?)?",
)
_COUNTED = re.compile(
    r"\s?(?:/|x\s?10|copies|kopien|cells|zellen|cellules|células|units?|einheiten|unités|unidades|iu\b|ui\b|ie\b|u/|patients?\b|"
    r"people|persons?|cases|fälle|euro|eur\b|usd|€|\$)",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+")
_LOOK_BACK, _WORDS_BACK = 48, 5


def find_numbers(seen: Text) -> Iterator[Finding]:
    """Yield numbers whose form tells what they are, then what is too long for a measure."""
    text = seen.text
    for run in _RUN.finditer(text):
        digits = sum(map(str.isdecimal, run[0]))
        if digits >= 2:
            start, end = run.start(), min(run.end() + 24, len(text))
            if run[0] != run[0].lower():
                yield from _plates(text, start, end)
            if digits >= 4:
                yield from _in_run(text, start, end, digits)
    for pattern in (_HEX, _UUID) if _HEX_SIGN.search(text) else ():
        yield from (Finding(Kind.OTHER_NUMBER, m.start(), m.end()) for m in pattern.finditer(text))


def is_code(text: str, start: int) -> bool:
    """Whether the words before a number say that it belongs to a terminology, a study or a publication."""
    words = _LETTERS.findall(text[max(0, start - _LOOK_BACK) : start].rpartition("\n")[2].casefold())
    return any(word in _CODES for word in words[-_WORDS_BACK:])


def _plates(text: str, start: int, end: int) -> Iterator[Finding]:
    for form in _PLATES:
        for m in form.pattern.finditer(text, start, end):
            if (form.check is None or form.check(m[0])) and not is_code(text, m.start()):
                yield Finding(form.kind, m.start(), m.end())


def _in_run(text: str, start: int, end: int, digits: int) -> Iterator[Finding]:
    if digits >= _SHORTEST:
        yield from _formed(text, start, end, digits)
        for m in _IBAN.finditer(text, start, end) if digits >= _SHORTEST_IBAN else ():
            if length := _iban_length(m[0]):
                yield Finding(Kind.ACCOUNT_NUMBER, m.start(), m.start() + length)
        for m in _VIN.finditer(text, start, end) if end - start >= _VIN_LENGTH else ():
            if sum(map(str.isdecimal, m[0])) >= 4 and not m[0].isdecimal():
                yield Finding(Kind.VEHICLE, m.start(), m.end())
        if digits >= _SHORTEST_PHONE:
            yield from _phones(text, start, end)
    yield from _nameless(text, start, end, digits)


def _formed(text: str, start: int, end: int, digits: int) -> Iterator[Finding]:
    for form in _FORMS:
        if digits < form.least:
            continue
        for m in form.pattern.finditer(text, start, end):
            if (form.check is None or form.check(_bare(m[0]))) and not is_code(text, m.start()):
                yield Finding(form.kind, m.start(), m.end())


def _bare(number: str) -> str:
    return "".join(filter(str.isalnum, number)).upper()


def _iban_length(found: str) -> int:
    """Return how long an IBAN is at the beginning of a text that may go on with other words; 0 for none."""
    for end in range(len(found), 14, -1):
        if found[end - 1].isalnum() and checksums.is_iban(_bare(found[:end])):
            return end
    return 0


def _phones(text: str, start: int, end: int) -> Iterator[Finding]:
    for pattern in _PHONE:
        for m in pattern.finditer(text, start, end):
            if is_code(text, m.start()) or _bare(m[0]) in HELP_LINES:
                continue
            more = _EXTENSION.match(text, m.end())
            near = text[max(0, m.start() - 24) : m.start()].casefold()
            is_fax = ("fax" in near or "télécop" in near) and not near.rstrip(" :.").endswith(("tel", "phone"))
            yield Finding(Kind.FAX if is_fax else Kind.PHONE, m.start(), more.end() if more else m.end())


def _nameless(text: str, start: int, end: int, digits: int) -> Iterator[Finding]:
    """Yield long numbers, and such with letters, that are no measure and no public code."""
    for m in _LONG.finditer(text, start, end) if digits >= _SHORTEST_LONG else ():
        if not m[0].endswith("000") and not _COUNTED.match(text, m.end()) and not is_code(text, m.start()):
            yield Finding(Kind.OTHER_NUMBER, m.start(), m.end())
    if text[start:end] != text[start:end].lower():
        yield from _mixed(text, start, end)
    for m in _GROUPED.finditer(text, start, end) if digits >= _SHORTEST_GROUPED else ():
        enough = sum(map(str.isdecimal, m[0])) >= 8
        if enough and not is_code(text, m.start()) and not _COUNTED.match(text, m.end()):
            yield Finding(Kind.OTHER_NUMBER, m.start(), m.end())


def _mixed(text: str, start: int, end: int) -> Iterator[Finding]:
    """Yield codes of digits and capitals."""
    for m in _MIXED.finditer(text, start, end):
        count = sum(map(str.isdecimal, m[0]))
        enough = count >= 5 or (count == 4 and _TWO_LETTERS.fullmatch(m[0]) is not None)
        if enough and not _PUBLIC.fullmatch(m[0]) and not is_code(text, m.start()):
            yield Finding(Kind.OTHER_NUMBER, m.start(), m.end())
    for pattern in (_DIGITS_FIRST, _LABORATORY):
        for m in pattern.finditer(text, start, end):
            if sum(map(str.isdecimal, m[0])) >= 6 and not is_code(text, m.start()):
                yield Finding(Kind.OTHER_NUMBER, m.start(), m.end())
