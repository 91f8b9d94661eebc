"""Check digits of identity numbers, each computed as its issuer defines it; texts come without spaces and in capitals."""

import re

__all__ = [
    "is_card",
    "is_dea",
    "is_dni",
    "is_iban",
    "is_kvnr",
    "is_nhs",
    "is_nir",
    "is_nuss",
    "is_personalausweis",
    "is_rentennummer",
    "is_steuer_id",
]

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{10,30}")
_NIR = re.compile(r"[12378]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6}\d{2}")
_RENTENNUMMER_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)


def is_nhs(text: str) -> bool:
    """Whether ten digits are an NHS number (mod 11).

    >>> is_nhs("9434765919"), is_nhs("9434765918")
    (True, False)
    """
    if len(text) != 10 or not text.isdecimal():
        return False
    check = 11 - sum(int(d) * (10 - at) for at, d in enumerate(text[:9])) % 11
    return check % 11 == int(text[9])


def is_kvnr(text: str) -> bool:
    """Whether a letter and nine digits are a Krankenversichertennummer.

    >>> is_kvnr("T555558879"), is_kvnr("T555558878")
    (True, False)
    """
    if not re.fullmatch(r"[A-Z]\d{9}", text):
        return False
    digits = f"{ord(text[0]) - 64:02d}{text[1:9]}"
    return sum(_cross(int(d) * (1 + at % 2)) for at, d in enumerate(digits)) % 10 == int(text[9])


def is_steuer_id(text: str) -> bool:
    """Whether eleven digits are a Steuer-Identifikationsnummer (ISO 7064, mod 11, 10; one digit stands there twice or thrice).

    >>> is_steuer_id("36574261809"), is_steuer_id("36574261890")
    (True, False)
    """
    if not re.fullmatch(r"[1-9]\d{10}", text) or not _repeats_one(text[:10]):
        return False
    product = 10
    for digit in text[:10]:
        total = (int(digit) + product) % 10 or 10
        product = 2 * total % 11
    return (11 - product) % 10 == int(text[10])


def is_personalausweis(text: str) -> bool:
    """Whether nine characters and a digit are the number of a German identity card or passport (weights 7, 3, 1).

    >>> is_personalausweis("T220001293"), is_personalausweis("T220001294")
    (True, False)
    """
    if not re.fullmatch(r"[CFGHJKLMNPRTVWXYZ0-9]{9}\d", text):
        return False
    return sum(int(c, 36) * (7, 3, 1)[at % 3] for at, c in enumerate(text[:9])) % 10 == int(text[9])


def is_rentennummer(text: str) -> bool:
    """Whether eight digits, a letter and three digits are a German social insurance number.

    >>> is_rentennummer("15070649C103"), is_rentennummer("15070649C104")
    (True, False)
    """
    if not re.fullmatch(r"\d{8}[A-Z]\d{3}", text):
        return False
    digits = f"{text[:8]}{ord(text[8]) - 64:02d}{text[9:11]}"
    total = sum(_cross(int(d) * w) for d, w in zip(digits, _RENTENNUMMER_WEIGHTS, strict=True))
    return total % 10 == int(text[11])


def is_nir(text: str) -> bool:
    """Whether thirteen characters and two digits are a French NIR (key: 97 less the number mod 97).

    >>> is_nir("255081416802538"), is_nir("255081416802539")
    (True, False)
    """
    if not _NIR.fullmatch(text):
        return False
    digits = text[:13].replace("2A", "19").replace("2B", "18")
    return digits.isdecimal() and 97 - int(digits) % 97 == int(text[13:])


def is_dni(text: str) -> bool:
    """Whether digits and a letter are a Spanish DNI or NIE (letter: the number mod 23).

    >>> is_dni("12345678Z"), is_dni("X1234567L"), is_dni("12345678A")
    (True, True, False)
    """
    if not re.fullmatch(r"(?:\d{8}|[XYZ]\d{7})[A-Z]", text):
        return False
    number = str("XYZ".index(text[0])) + text[1:8] if text[0].isalpha() else text[:8]
    return _DNI_LETTERS[int(number) % 23] == text[8]


def is_nuss(text: str) -> bool:
    """Whether twelve digits are a Spanish social security number (mod 97 over province and number).

    >>> is_nuss("281234567840"), is_nuss("281234567841")
    (True, False)
    """
    if not re.fullmatch(r"(?:0[1-9]|[1-5]\d|66)\d{10}", text):
        return False
    province, number = int(text[:2]), int(text[2:10])
    whole = number + province * 10_000_000 if number < 10_000_000 else int(text[:10])
    return whole % 97 == int(text[10:])


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN (ISO 7064, mod 97, 10).

    >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
    (True, False)
    """
    return _IBAN.fullmatch(text) is not None and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Whether 13 to 19 digits are the number of a payment card (Luhn).

    >>> is_card("4111111111111111"), is_card("4111111111111112")
    (True, False)
    """
    if not re.fullmatch(r"[2-6]\d{12,18}", text):
        return False
    return sum(_cross(int(d) * (1 + at % 2)) for at, d in enumerate(reversed(text))) % 10 == 0


def is_dea(text: str) -> bool:
    """Whether two letters and seven digits are a DEA registration.

    >>> is_dea("AB1234563"), is_dea("AB1234564")
    (True, False)
    """
    if not re.fullmatch(r"[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}", text):
        return False
    digits = [int(d) for d in text[2:]]
    return (sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


def _repeats_one(digits: str) -> bool:
    """Whether one digit stands there twice or thrice, and no other one more than once."""
    more = [count for digit in set(digits) if (count := digits.count(digit)) > 1]
    return len(more) == 1 and more[0] <= 3


def _cross(number: int) -> int:
    """Return the sum of the digits of a number below 100."""
    return number // 10 + number % 10
