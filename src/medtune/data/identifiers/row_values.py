"""Finds identifiers in the values of a row, column by column, and puts marks in their place."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, cast

from medtune.data.identifiers.equal_texts import Leaf, found_alike
from medtune.data.identifiers.finding import find_identifiers
from medtune.data.identifiers.kinds import Finding, Kind
from medtune.data.identifiers.names import find_words, name_words
from medtune.data.shaping import json_columns, parsed_text
from medtune.specs.bounded import is_utf8

__all__ = ["Columns", "FoundInRow", "find_in_row", "masked_row"]

_TAGGED_LINE = re.compile(r"[^\s]+ : [A-Z][\w-]*")
_WORD = re.compile(r"\S+")
_MOST_IN_A_CELL = 80
"""Characters of a value that a column's name alone tells."""
_MOST_IN_A_TOKEN = 40
_NUMBERS = range(10**6, 10**19)
"""Numbers that identify somebody in a column whose name tells nothing; as text they have seven digits or more."""
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


class Columns(NamedTuple):
    """How columns are looked at.

    Attributes:
        skipped: those that are not.
        as_json: those whose texts are read as the JSON that they are trained on as.
    """

    skipped: frozenset[str] = frozenset()
    as_json: frozenset[str] = json_columns({})


class FoundInRow(NamedTuple):
    """What one text of a row holds: its column, with dots and "[]", and where identifiers stand in it."""

    column: str
    findings: Sequence[Finding]


def find_in_row(values: Mapping[str, Any], columns: Columns = Columns()) -> list[FoundInRow]:  # noqa: B008 - frozen
    """Return the texts of a row that hold identifiers; what is one in one column is known in the others.

    Args:
        values: column -> value: texts, numbers, lists and objects of such.
        columns: how they are looked at.
    """
    return [FoundInRow(leaf.column, leaf.findings) for leaf in _found(values, columns) if leaf.findings]


def masked_row(
    values: Mapping[str, Any],
    columns: Columns = Columns(),  # noqa: B008 - frozen
) -> tuple[dict[str, Any], list[FoundInRow]]:
    """Return a row with a mark in the place of each identifier, and what was found; equal texts stay equal.

    A list of tokens keeps its length, and a row that says ``token : tag`` line by line its number of words: there every
    word of an identifier has a mark of its own. Offsets that other columns hold no longer fit.
    """
    found = _found(values, columns)
    told = [FoundInRow(leaf.column, leaf.findings) for leaf in found if leaf.findings]
    if not told:
        return dict(values), told
    by_word = any(_is_tagged(leaf.value) for leaf in found)
    each = iter(found)
    return {
        column: _mapped(value, column, lambda value, _at: _mask(value, next(each).findings, by_word), columns)
        for column, value in values.items()
    }, told


def _found(values: Mapping[str, Any], columns: Columns) -> list[Leaf]:
    """Return every text and number of a row with what was found in it."""
    leaves: list[tuple[str, Any]] = []

    def note(value: Any, at: str) -> Any:
        leaves.append((at, value))
        return value

    for column, value in values.items():
        _mapped(value, column, note, columns)
    found = [Leaf(column, value, _text_of(value), _find(column, value)) for column, value in leaves]
    known = {word for leaf in found for word in name_words(leaf.text, leaf.findings)}
    if known:
        found = [_with_names(leaf, known) if isinstance(leaf.value, str | list) else leaf for leaf in found]
    return found_alike(found)


def _with_names(leaf: Leaf, known: set[str]) -> Leaf:
    again = find_words(leaf.text, known, leaf.findings)
    return leaf._replace(findings=sorted([*leaf.findings, *again], key=lambda finding: finding.start))


def _mapped(value: Any, path: str, change: Callable[[Any, str], Any], columns: Columns) -> Any:
    """Return a value with each text, number, date and list of tokens changed, which ``change`` gets with its column."""
    if path in columns.skipped:
        return value
    if isinstance(value, str) and (inside := _inside(value, path, columns)) is not None:
        changed = _mapped(inside, path, change, columns)
        return value if changed == inside else _as_json(changed)
    if _is_token_list(value) or (isinstance(value, _LEAVES) and not isinstance(value, bool)):
        return change(value, path)
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return {key: _mapped(each, f"{path}.{key}", change, columns) for key, each in inner.items()}
    if isinstance(value, list | tuple):
        return [_mapped(each, f"{path}[]", change, columns) for each in cast("Sequence[Any]", value)]
    return value


def _inside(value: str, path: str, columns: Columns) -> Any:
    """Return the list or object that a text is trained on as; None for a text, also for one that says a key twice."""
    if path.replace("[]", "") not in columns.as_json:
        return None
    found = parsed_text(value)
    return None if found is value or _says_twice(value) else found


def _says_twice(value: str) -> bool:
    counts: list[bool] = []
    json.loads(value, object_pairs_hook=lambda pairs: counts.append(len({key for key, _v in pairs}) < len(pairs)))
    return any(counts)


def _as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if is_utf8(text) else json.dumps(value)  # half a character, which only an escape can say


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


def _digits(value: float | Decimal) -> str:
    """Return a number as it stands in texts, empty for one that identifies nobody; tables with gaps make 1001.0 of 1001."""
    in_bounds = math.isfinite(value) and _NUMBERS.start <= value < _NUMBERS.stop
    return str(int(value)) if in_bounds and value == int(value) else ""


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
        kind = kind or next((each.kind for each in find_identifiers(_digits(value))), None)
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
        if touching is not None:
            start, end = max(touching.start - at, 0), touching.end - at
            token = f"{token[:start]}{touching.kind.mark}{token[end:]}"  # noqa: PLW2901 - the same token, masked
        masked.append(token)
        at += len(tokens[len(masked) - 1]) + 1
    return masked
