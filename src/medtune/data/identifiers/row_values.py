"""Finds identifiers in the values of a row, column by column, and puts marks in their place."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, cast

from medtune.data.identifiers.finding import find_identifiers
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.names import find_words, name_words

__all__ = ["FoundInRow", "find_in_row", "masked_row"]

_TAGGED_LINE = re.compile(r"[^\s]+ : [A-Z][\w-]*")
_WORD = re.compile(r"\S+")
_MOST_IN_A_CELL = 80
"""Characters of a value that a column's name alone tells."""
_MOST_IN_A_TOKEN = 40
_LEAVES = (str, int, float, Decimal, date)
_COLUMNS: Mapping[str, Kind] = {
    name: kind
    for kind, names in {
        Kind.NAME: "firstname lastname surname fullname patientname givenname familyname maidenname middlename nachname vorname patientenname nompatient prenom apellido apellidos physicianname providername doctorname",
        Kind.PLACE: "street streetaddress address homeaddress city town zip zipcode postcode postalcode plz ort wohnort strasse adresse codepostal ville direccion codigopostal ciudad county birthplace",
        Kind.DATE: "dob dateofbirth birthdate birthday geburtsdatum datenaissance fechanacimiento admissiondate dischargedate deathdate",
        Kind.PHONE: "phone phonenumber telephone mobile cellphone telefon handy telephonenumber telefono",
        Kind.FAX: "fax faxnumber",
        Kind.EMAIL: "email emailaddress mail",
        Kind.SSN: "ssn socialsecuritynumber nino nir dni nie steuerid",
        Kind.RECORD_NUMBER: "mrn medicalrecordnumber patientid patientnumber patientnr hadmid subjectid stayid encounterid fallnummer patientennummer ipp nhc",
        Kind.HEALTH_PLAN_NUMBER: "nhsnumber memberid insurancenumber policynumber kvnr versichertennummer cip",
        Kind.ACCOUNT_NUMBER: "iban accountnumber",
        Kind.IP_ADDRESS: "ip ipaddress",
    }.items()
    for name in names.split()
}  # fmt: skip
"""Column, in small letters alone -> what all of its short values are."""


class FoundInRow(NamedTuple):
    """What one text of a row holds: its column, with dots and "[]", and where identifiers stand in it."""

    column: str
    findings: Sequence[Finding]


def find_in_row(values: Mapping[str, Any], skipped: frozenset[str] = frozenset()) -> list[FoundInRow]:
    """Return the texts of a row that hold identifiers; names found in one column are known in the others.

    Args:
        values: column -> value: texts, numbers in columns that a name tells, lists and objects of such.
        skipped: columns that are not looked at.
    """
    return [FoundInRow(column, findings) for column, _text, findings in _found(values, skipped) if findings]


def masked_row(
    values: Mapping[str, Any], skipped: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[FoundInRow]]:
    """Return a row with a mark in the place of each identifier, and what was found.

    A list of tokens keeps its length, and a row that says ``token : tag`` line by line its number of words: there every
    word of an identifier has a mark of its own. Offsets that other columns hold no longer fit.
    """
    found = list(_found(values, skipped))
    told = [FoundInRow(column, findings) for column, _text, findings in found if findings]
    if not told:
        return dict(values), told
    by_word = any(_is_tagged(text) for _column, text, _findings in found)
    each = iter(found)
    changed = {
        column: value
        if column in skipped
        else _mapped(value, column, lambda value: _mask(value, next(each)[2], by_word), skipped)
        for column, value in values.items()
    }
    return changed, told


def _found(values: Mapping[str, Any], skipped: frozenset[str]) -> Iterator[tuple[str, Any, list[Finding]]]:
    """Yield every text and number of a row with what was found in it."""
    leaves: list[tuple[str, Any]] = []
    for column, value in values.items():
        if column not in skipped:
            _mapped(value, column, lambda value, at="": leaves.append((at, value)), skipped, tell=True)
    found = [(column, value, _find(column, value)) for column, value in leaves]
    known = {word for _c, value, findings in found for word in name_words(_text_of(value), findings)}
    for column, value, findings in found:
        again = find_words(_text_of(value), known, findings) if known and isinstance(value, str | list) else []
        yield column, value, sorted([*findings, *again], key=lambda finding: finding.start)


def _mapped(value: Any, path: str, change: Callable[..., Any], skipped: frozenset[str], *, tell: bool = False) -> Any:
    """Return a value with each text, number, date and list of tokens changed; ``tell`` passes their column as well."""
    if path in skipped:
        return value
    if _is_token_list(value) or (isinstance(value, _LEAVES) and not isinstance(value, bool)):
        return change(value, path) if tell else change(value)
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return {key: _mapped(each, f"{path}.{key}", change, skipped, tell=tell) for key, each in inner.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, f"{path}[]", change, skipped, tell=tell) for each in cast("Sequence[Any]", value)]
    return value


def _is_token_list(value: Any) -> bool:
    """Whether a value is a list of words, which are read together."""
    if not isinstance(value, list):
        return False
    words: list[Any] = value
    return len(words) > 1 and all(isinstance(w, str) and len(w) <= _MOST_IN_A_TOKEN and " " not in w for w in words)


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return _line_words(value) if _is_tagged(value) else value
    return " ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)


def _is_tagged(value: Any) -> bool:
    """Whether a text says ``token : tag`` line by line."""
    if not isinstance(value, str) or " : " not in value:
        return False
    lines = value.strip().split("\n")
    return (
        len(lines) > 1 and sum(_TAGGED_LINE.fullmatch(line.strip()) is not None for line in lines) * 10 > len(lines) * 9
    )


def _line_words(value: str) -> str:
    """Return the tokens of a tagged text, with spaces in the place of the tags: the places stay as they are."""
    return "".join(
        f"{token}{' ' * (len(line) - len(token))} "
        for line in value.split("\n")
        for token in [line.rpartition(" : ")[0] or line]
    )[: len(value)]


def _find(column: str, value: Any) -> list[Finding]:
    name = "".join(filter(str.isalnum, column.replace("[]", "").rpartition(".")[2])).casefold()
    kind = _COLUMNS.get(name)
    if isinstance(value, date):  # a day, of a Parquet file or a workbook; datetime is one too
        return [Finding(Kind.DATE, 0, len(str(value)))]
    if isinstance(value, int | float | Decimal):
        return [Finding(kind, 0, len(str(value)))] if kind else []
    text = _text_of(value)
    if kind and text.strip() and len(text) <= _MOST_IN_A_CELL:
        return [Finding(kind, 0, len(text))]
    if isinstance(value, str) and _is_tagged(value):
        text = re.sub(r" {2,}", lambda gap: " " + "\0" * (len(gap[0]) - 1), text)
        return _in_gaps(text)
    return find_identifiers(text)


def _in_gaps(text: str) -> list[Finding]:
    """Find in a text whose words lie apart: without the gaps, then at the places that words have with them."""
    places = [at for at, character in enumerate(text) if character != "\0"]
    packed = "".join(text[at] for at in places)
    return [Finding(f.kind, places[f.start], places[f.end - 1] + 1) for f in find_identifiers(packed)]


def _mask(value: Any, findings: Sequence[Finding], by_word: bool) -> Any:
    if not findings:
        return value
    if isinstance(value, list):
        return _mask_tokens(cast("list[str]", value), findings)
    if not isinstance(value, str):
        return findings[0].kind.mark
    if by_word:
        findings = list(_by_word(_text_of(value), findings))
    parts: list[str] = []
    at = 0
    for finding in findings:
        parts += [value[at : finding.start], finding.kind.mark]
        at = finding.end
    return "".join([*parts, value[at:]])


def _by_word(text: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield a finding for each word that one touches."""
    for word in _WORD.finditer(text):
        touching = next((f for f in findings if f.start < word.end() and word.start() < f.end), None)
        if touching:
            yield Finding(touching.kind, word.start(), word.end())


def _mask_tokens(tokens: list[str], findings: Sequence[Finding]) -> list[str]:
    masked: list[str] = []
    at = 0
    for token in tokens:
        touching = next((f for f in findings if f.start < at + len(token) and at < f.end), None)
        masked.append(touching.kind.mark if touching else token)
        at += len(token) + 1
    return masked
