"""What two texts must agree on whatever their words: what is negated, and the numbers."""

import re
from typing import NamedTuple

from medtune.evaluation.plain_text import NO_SPACES, normal

__all__ = ["Agreement", "agreement", "negated_words", "numbers"]

_UNITS = {
    "\u6beb\u514b": "mg", "\u5fae\u514b": "mcg", "\u5343\u514b": "kg", "\u516c\u65a4": "kg", "\u514b": "g", "\u6beb\u5347": "ml", "\u5347": "l", "\u6beb\u7c73": "mm", "\u5398\u7c73": "cm",
    "\u56fd\u9645\u5355\u4f4d": "iu", "\u5355\u4f4d": "unit", "\u5c0f\u65f6": "hour", "\u5929": "day", "\u65e5": "day", "\u5468": "week", "\u4e2a\u6708": "month", "\u6708": "month", "\u5e74": "year",
    "stunden": "hour", "stunde": "hour", "tage": "day", "tag": "day", "wochen": "week", "woche": "week", "monate": "month", "monat": "month",
    "jahre": "year", "jahr": "year", "einheiten": "unit", "heures": "hour", "jours": "day", "jour": "day", "semaines": "week", "mois": "month",
    "\u00b5g": "mcg", "\u03bcg": "mcg", "ug": "mcg", "horas": "hour", "d\u00edas": "day", "d\u00eda": "day", "semanas": "week", "meses": "month", "ie": "iu", "ui": "iu",
}  # fmt: skip
"""Units of other languages and spellings: their English names. Chinese in order of length."""
_NUMBER = re.compile(
    rf"(?-i:(?<![^\W{NO_SPACES}]))(?<![.,])(\d+(?:[.,]\d+)*)\s*"
    r"(%|(?:mcg|\u00b5g|\u03bcg|ug|mg|kg|g|ml|dl|mmol|mol|mm|cm|iu|units?|l|hours?|days?|weeks?|months?|years?)"
    rf"(?:/(?:kg|dl|ml|l|day|d|h|hour|min))?(?![a-z])|{'|'.join(unit + '(?![a-z])' * unit.isascii() for unit in _UNITS)})?",
    re.IGNORECASE,
)
_CHINESE_UNITS = "|".join(unit for unit in _UNITS if unit[0] > "\u2e80")
_CHINESE_NUMBER = re.compile(
    rf"([\u96f6\u4e00\u4e8c\u4e24\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343]+)(?={_CHINESE_UNITS})"
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in [*range(0xFF10, 0xFF1A), 0xFF0E, 0xFF05]}
_CHINESE_DIGITS = {
    sign: value for value, sign in enumerate("\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d")
} | {"\u4e24": 2}
_CHINESE_TENS = {"\u5341": 10, "\u767e": 100, "\u5343": 1000}
_CLAUSE = re.compile(
    r"[.;:!?\n\u3002\uff0c\uff1b\uff1a\uff01\uff1f]|,\s|\b(?:but|however|although|aber|sondern|jedoch|mais|pero|sino|ma|per\u00f2|mas|maar)\b|\u4f46",
    re.IGNORECASE,
)
_WORD = re.compile(rf"[{NO_SPACES}]|[^\W\d_{NO_SPACES}]+(?:['\u2019]t\b)?")
_BEFORE = frozenset({
    "no", "not", "without", "never", "neither", "nor", "denies", "denied", "denying", "none", "cannot", "lacks", "lack",
    "absence", "free", "negative",
    # German, French, Spanish, Italian, Portuguese, Dutch
    "kein", "keine", "keinen", "keinem", "keiner", "keines", "nicht", "ohne", "niemals", "verneint", "pas", "sans", "aucun", "aucune",
    "jamais", "sin", "ning\u00fan", "ninguno", "ninguna", "nunca", "tampoco", "niega", "non", "senza", "nessun", "nessuno", "nessuna",
    "n\u00e3o", "sem", "nenhum", "nenhuma", "nega", "geen", "niet", "zonder", "nooit", "ontkent",
    # Chinese
    "\u6ca1", "\u65e0", "\u4e0d", "\u672a", "\u5426", "\u975e", "\u52ff",
})  # fmt: skip
_NO_CUE_IN_CAPITALS = frozenset({"pas", "sem", "sin", "non"})
"""Stains, standard errors and other abbreviations are written like these."""
_NO_CUE_BEFORE = {
    "\u4e0d": "\u540c\u826f\u4ec5\u4f46\u8fc7\u65ad\u9002",
    "\u65e0": "\u529b\u8bba",
    "\u975e": "\u5e38",
    "\u672a": "\u6765",
    "\u5426": "\u5219",
}
"""Chinese cue -> signs with which it is another word."""
_AFTER = frozenset(
    {
        "absent",
        "excluded",
        "denied",
        "unlikely",
        "ausgeschlossen",
        "exclu",
        "exclue",
        "descartado",
        "descartada",
        "escluso",
        "esclusa",
    }
)
_NOT = frozenset({"not", "nicht", "niet"})
_SEEN = frozenset({
    "seen", "present", "found", "noted", "identified", "detected", "evident", "visible", "observed", "vorhanden", "nachweisbar",
    "erkennbar", "sichtbar", "gesehen", "aanwezig", "gezien",
})  # fmt: skip
"""What is "not seen" stands before."""
_RULE = frozenset({"rule", "rules", "ruled", "ruling"})
_REACH = 5
_EMPTY_WORDS = frozenset({
    "a", "an", "the", "of", "for", "to", "in", "on", "at", "by", "with", "and", "or", "is", "are", "was", "were",
    "be", "been", "has", "have", "had", "do", "does", "did", "any", "other", "there", "it", "this", "that", "he",
    "she", "they", "patient", "evidence", "sign", "signs",
})  # fmt: skip
_KEPT = frozenset({"evidence", "sign", "signs", "\u6709"})
"""Empty words that still count as negated when nothing else follows: "no evidence"."""


class Agreement(NamedTuple):
    """Whether two texts agree; None where neither says anything of the kind."""

    negation: bool | None
    number: bool | None


def agreement(text: str, reference: str) -> Agreement:
    """Compare a text with its reference.

    Negations agree when no word that both have is negated in one and plain in the other; numbers when both have the same
    ones, with their units.

    >>> agreement("Evidence of fracture, 50 mg.", "No evidence of fracture, 5 mg.")
    Agreement(negation=False, number=False)
    """
    found, wanted = numbers(text), numbers(reference)
    number = None if not found and not wanted else found == wanted
    here, there = negated_words(text), negated_words(reference)
    if not here[0] and not there[0]:
        return Agreement(None, number)
    turned = (here[0] & there[1]) | (there[0] & here[1])
    return Agreement(not turned, number)


def numbers(text: str) -> frozenset[tuple[float, str]]:
    """Return the numbers of a text with their units, empty where there is none.

    >>> sorted(numbers("1,000 IU and 0.50 mg"))
    [(0.5, 'mg'), (1000.0, 'iu')]
    """
    plain = _CHINESE_NUMBER.sub(lambda found: str(_chinese(found[1])), normal(text).translate(_FULL_WIDTH))
    return frozenset((_value(n), _unit(written.lower())) for n, written in _NUMBER.findall(plain))


def negated_words(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that a text negates, and those that it has without negation."""
    negated: set[str] = set()
    plain: set[str] = set()
    for clause in _CLAUSE.split(normal(text)):
        written = _WORD.findall(clause)
        found = [word.lower() for word in written]
        inside = _reached(found, [_is_cue(written, place) for place in range(len(found))])
        for place, word in enumerate(found):
            if word not in _BEFORE | _AFTER and (word not in _EMPTY_WORDS or word in _KEPT):
                (negated if place in inside else plain).add(word)
    return frozenset(negated), frozenset(plain - negated)


def _is_cue(written: list[str], place: int) -> bool:
    """Whether a word negates what follows, as it is written and with the sign behind it."""
    word = written[place]
    if word.lower() not in _BEFORE or (word.isupper() and word.lower() in _NO_CUE_IN_CAPITALS):
        return False
    after, before = written[place + 1 : place + 2], written[place - 1 : place]
    is_whether = word == "\u5426" and before == ["\u662f"]
    return not is_whether and not (after and after[0] in _NO_CUE_BEFORE.get(word, ""))


def _reached(found: list[str], is_cue: list[bool]) -> set[int]:
    """Return the places of words that a cue negates: the next ones of some, the ones before of others."""
    inside: set[int] = set()
    for place, word in enumerate(found):
        if is_cue[place] or word.endswith(("n't", "n\u2019t")):
            inside |= {*range(place + 1, place + 1 + _REACH)}
        after = found[place + 1 : place + 2]
        is_ruled_out = word in _RULE and after == ["out"]
        is_last = place + 2 >= len(found)
        if is_ruled_out and not is_last:
            inside |= {*range(place + 2, place + 2 + _REACH)}
        if word in _AFTER or (word in _NOT and after and after[0] in _SEEN) or (is_ruled_out and is_last):
            inside |= {*range(max(0, place - _REACH), place)}
    return inside


def _unit(written: str) -> str:
    amount, per, rest = written.partition("/")
    return f"{_UNITS.get(amount) or amount.rstrip('s')}{per}{rest}"


def _chinese(written: str) -> int:
    """Read a number below ten thousand: \u4e94\u5341 is 50."""
    total, digit = 0, 0
    for sign in written:
        if sign in _CHINESE_TENS:
            total, digit = total + (digit or 1) * _CHINESE_TENS[sign], 0
        else:
            digit = _CHINESE_DIGITS[sign]
    return total + digit


def _value(written: str) -> float:
    """Read a number: a comma before three digits parts thousands, any other a fraction."""
    plain = re.sub(r",(?=\d{3}(?:\D|$))", "", written).replace(",", ".")
    whole, *rest = plain.split(".")
    return float(f"{whole}.{''.join(rest)}" if rest else whole)
