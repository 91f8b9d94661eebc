"""Numbers that carry a check digit or follow from who holds them."""

from collections.abc import Callable, Mapping
from random import Random

from clinical_notes import check_digits
from clinical_notes.note import Piece
from clinical_notes.people import Person, plain_letters

Number = Callable[[Random, Person], str]
"""Draws a number for a person."""

_MBI = "ACDEFGHJKMNPQRTUVWXY"
_VIN = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_CARD = "CFGHJKLMNPRTVWXYZ0123456789"


def number(key: str, draw: Random, person: Person) -> Piece:
    """Return a number as an identifier.

    Args:
        key: A key of `NUMBERS`.
        draw: The note's source of chance.
        person: Who holds the number.

    Returns:
        One piece with kind and detail.
    """
    kind, detail, make = NUMBERS[key]
    return Piece(make(draw, person), kind, detail)


def _npi(draw: Random, person: Person) -> str:
    del person
    body = "1" + _digits(draw, 8)
    return body + check_digits.npi(body)


def _dea(draw: Random, person: Person) -> str:
    body = _digits(draw, 6)
    return draw.choice("ABFM") + plain_letters(person.family)[0].upper() + body + check_digits.dea(body)


def _mbi(draw: Random, person: Person) -> str:
    del person
    signs = [_digits(draw, 1, "123456789") if sign == "C" else _sign(draw, sign) for sign in "CAXNAXNAANN"]
    text = "".join(signs)
    return draw.choice([text, f"{text[:4]}-{text[4:7]}-{text[7:]}"])


def _vin(draw: Random, person: Person) -> str:
    del person
    body = draw.choice(["1HG", "WVW", "VF1", "SAL", "WBA", "VSS", "5YJ"]) + "".join(draw.choices(_VIN, k=10))
    body += _digits(draw, 4)
    return body[:8] + check_digits.vin(body) + body[9:]


def _nhs(draw: Random, person: Person) -> str:
    del person
    text = _until(lambda: draw.choice("4679") + _digits(draw, 8))
    return draw.choice([text, f"{text[:3]} {text[3:6]} {text[6:]}", f"{text[:3]}-{text[3:6]}-{text[6:]}"])


def _chi(draw: Random, person: Person) -> str:
    return _until(lambda: f"{person.born:%d%m%y}{_digits(draw, 2)}{draw.choice('02468' if person.female else '13579')}")


def _nino(draw: Random, person: Person) -> str:
    del person
    head = draw.choice(["AB", "CE", "HJ", "JN", "KL", "PA", "SR", "TW", "WM", "YX"])
    body, tail = _digits(draw, 6), draw.choice("ABCD")
    return draw.choice([head + body + tail, f"{head} {body[:2]} {body[2:4]} {body[4:]} {tail}"])


def _kvnr(draw: Random, person: Person) -> str:
    body = plain_letters(person.family)[0].upper() + _digits(draw, 8)
    return body + check_digits.kvnr(body)


def _rvnr(draw: Random, person: Person) -> str:
    area, letter = draw.choice(["12", "15", "24", "53", "65"]), plain_letters(person.family)[0].upper()
    serial = f"{draw.randint(50, 99) if person.female else draw.randint(0, 49):02d}"
    born = f"{person.born:%d%m%y}"
    last = serial + check_digits.rvnr(area + born + letter + serial)
    return draw.choice([f"{area} {born} {letter} {last}", area + born + letter + last])


def _steuer_id(draw: Random, person: Person) -> str:
    del person
    digits = draw.sample("0123456789", 10)
    digits = digits[::-1] if digits[0] == "0" else digits
    digits[-1] = draw.choice(digits[:-1])
    text = "".join(digits)
    text += check_digits.steuer_id(text)
    return draw.choice([text, f"{text[:2]} {text[2:5]} {text[5:8]} {text[8:]}"])


def _lanr(draw: Random, person: Person) -> str:
    del person
    body = _digits(draw, 6)
    return body + check_digits.lanr(body) + draw.choice(["01", "03", "10", "34", "50"])


def _identity_card(draw: Random, person: Person) -> str:
    del person
    body = draw.choice("LMPRTVWXY") + "".join(draw.choices(_CARD, k=8))
    return body + draw.choice(["", check_digits.identity_card(body)])


def _nir(draw: Random, person: Person) -> str:
    place = draw.choice(["2A", "2B", *(f"{number:02d}" for number in range(1, 96) if number != _OLD_CORSICA)])
    body = f"{2 if person.female else 1}{person.born:%y%m}{place}{draw.randint(1, 989):03d}{draw.randint(1, 999):03d}"
    key = check_digits.nir(body)
    parts = (body[0], body[1:3], body[3:5], body[5:7], body[7:10], body[10:13], key)
    return draw.choice([" ".join(parts), body + key, f"{body} {key}"])


def _rpps(draw: Random, person: Person) -> str:
    del person
    body = "10" + _digits(draw, 8)
    return body + check_digits.luhn(body)


def _dni(draw: Random, person: Person) -> str:
    del person
    body = draw.choice("1234567") + _digits(draw, 7)
    letter = check_digits.dni(body)
    return draw.choice([body + letter, f"{body}-{letter}", f"{body[:2]}.{body[2:5]}.{body[5:]}-{letter}"])


def _nie(draw: Random, person: Person) -> str:
    del person
    head, body = draw.randrange(3), _digits(draw, 7)
    letter = check_digits.dni(f"{head}{body}")
    return draw.choice(["{}{}{}", "{}-{}-{}"]).format("XYZ"[head], body, letter)


def _nss(draw: Random, person: Person) -> str:
    del person
    province, body = f"{draw.randint(1, 52):02d}", _digits(draw, 8)
    last = check_digits.nss(province, body)
    return draw.choice([f"{province}/{body}/{last}", f"{province} {body} {last}", province + body + last])


def _cip(draw: Random, person: Person) -> str:
    letters = (plain_letters(person.family).upper() + "XXXX")[:4]
    return f"{letters}{draw.choice([' ', ''])}{int(person.female)}{person.born:%y%m%d}{_digits(draw, 3)}"


def _iban_de(draw: Random, person: Person) -> str:
    del person
    return _iban(draw, "DE", draw.choice(["10050000", "37040044", "70150000", "50010517"]) + _digits(draw, 10))


def _iban_gb(draw: Random, person: Person) -> str:
    del person
    return _iban(draw, "GB", draw.choice(["BARC", "LOYD", "MIDL", "NWBK"]) + _digits(draw, 14))


def _iban_fr(draw: Random, person: Person) -> str:
    del person
    parts = (draw.choice(["20041", "30002", "30004", "10278"]), _digits(draw, 5), _digits(draw, 11))
    return _iban(draw, "FR", "".join(parts) + check_digits.rib(*parts))


def _iban_es(draw: Random, person: Person) -> str:
    del person
    bank, account = draw.choice(["2100", "0049", "0182", "1465"]) + _digits(draw, 4), _digits(draw, 10)
    return _iban(draw, "ES", bank + check_digits.ccc("00" + bank) + check_digits.ccc(account) + account)


def _iban(draw: Random, country: str, account: str) -> str:
    text = country + check_digits.iban(country, account) + account
    return draw.choice([text, " ".join(text[at : at + 4] for at in range(0, len(text), 4))])


def _digits(draw: Random, count: int, alphabet: str = "0123456789") -> str:
    return "".join(draw.choices(alphabet, k=count))


def _sign(draw: Random, sort: str) -> str:
    return draw.choice({"A": _MBI, "N": "0123456789", "X": _MBI + "0123456789"}[sort])


def _until(make: Callable[[], str]) -> str:
    while True:
        body = make()
        if last := check_digits.mod11(body):
            return body + last


_OLD_CORSICA = 20

NUMBERS: Mapping[str, tuple[str, str, Number]] = {
    "npi": ("licence_number", "NPI", _npi),
    "dea": ("licence_number", "DEA number", _dea),
    "mbi": ("health_plan_number", "MBI", _mbi),
    "vin": ("vehicle", "VIN", _vin),
    "nhs": ("health_plan_number", "NHS number", _nhs),
    "chi": ("health_plan_number", "CHI number", _chi),
    "nino": ("ssn", "NINO", _nino),
    "kvnr": ("health_plan_number", "Krankenversichertennummer", _kvnr),
    "rvnr": ("ssn", "Sozialversicherungsnummer", _rvnr),
    "steuer_id": ("ssn", "Steuer-ID", _steuer_id),
    "lanr": ("licence_number", "LANR", _lanr),
    "identity_card": ("licence_number", "Personalausweis", _identity_card),
    "nir": ("ssn", "NIR", _nir),
    "rpps": ("licence_number", "RPPS", _rpps),
    "dni": ("ssn", "DNI", _dni),
    "nie": ("ssn", "NIE", _nie),
    "nss": ("ssn", "NSS", _nss),
    "cip": ("health_plan_number", "CIP", _cip),
    "iban_de": ("account_number", "IBAN", _iban_de),
    "iban_gb": ("account_number", "IBAN", _iban_gb),
    "iban_fr": ("account_number", "IBAN", _iban_fr),
    "iban_es": ("account_number", "IBAN", _iban_es),
}
"""Kind, detail and rule of each number, by the slot's name."""
