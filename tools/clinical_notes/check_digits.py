"""Check digits of national numbers, each by its published rule."""

from itertools import cycle

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", "12345678123457923456789" + "0123456789", strict=True))
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_RIB_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "12345678912345678923456789", strict=True))
_NSS_SHORT = 10_000_000
_TEN = 10


def luhn(digits: str) -> str:
    """Return the digit after `digits` by the Luhn rule."""
    total = sum(sum(divmod(int(digit) * weight, _TEN)) for digit, weight in zip(reversed(digits), cycle((2, 1))))
    return str(-total % _TEN)


def npi(digits: str) -> str:
    """Return the tenth digit of a US provider number: Luhn after the prefix 80840."""
    return luhn("80840" + digits)


def dea(digits: str) -> str:
    """Return the seventh digit of a DEA number."""
    odd, even = sum(map(int, digits[::2])), sum(map(int, digits[1::2]))
    return str((odd + 2 * even) % _TEN)


def vin(number: str) -> str:
    """Return the ninth character of a VIN; `number` has 17 characters with any digit in its place."""
    rest = sum(int(_VIN_VALUES[sign]) * weight for sign, weight in zip(number, _VIN_WEIGHTS, strict=True)) % 11
    return "X" if rest == _TEN else str(rest)


def mod11(digits: str) -> str:
    """Return the tenth digit of an NHS or CHI number, empty where there is none."""
    rest = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
    return "" if rest == _TEN else str(rest)


def kvnr(number: str) -> str:
    """Return the check digit of a Krankenversichertennummer: a letter and eight digits."""
    return str(_cross_sums(_spelt(number), (1, 2)) % _TEN)


def rvnr(number: str) -> str:
    """Return the check digit of a Sozialversicherungsnummer: eight digits, a letter, two digits."""
    return str(_cross_sums(_spelt(number), (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % _TEN)


def steuer_id(digits: str) -> str:
    """Return the eleventh digit of a Steuer-ID (ISO 7064, MOD 11,10)."""
    product = _TEN
    for digit in digits:
        product = ((int(digit) + product) % _TEN or _TEN) * 2 % 11
    return str((11 - product) % _TEN)


def lanr(digits: str) -> str:
    """Return the seventh digit of a Lebenslange Arztnummer."""
    return str(-sum(int(digit) * weight for digit, weight in zip(digits, cycle((4, 9)))) % _TEN)


def identity_card(number: str) -> str:
    """Return the check digit of a machine-readable document number (weights 7, 3, 1)."""
    return str(sum(int(sign, 36) * weight for sign, weight in zip(number, cycle((7, 3, 1)))) % _TEN)


def nir(number: str) -> str:
    """Return the two-digit key of a French social security number of 13 signs; Corsica's 2A and 2B are allowed."""
    return f"{97 - int(number.replace('2A', '19').replace('2B', '18')) % 97:02d}"


def rib(bank: str, branch: str, account: str) -> str:
    """Return the two-digit key of a French account."""
    value = int("".join(_RIB_VALUES.get(sign, sign) for sign in account))
    return f"{97 - (89 * int(bank) + 15 * int(branch) + 3 * value) % 97:02d}"


def dni(digits: str) -> str:
    """Return the letter of a DNI; for a NIE write its X, Y or Z as 0, 1 or 2."""
    return _DNI_LETTERS[int(digits) % 23]


def nss(province: str, number: str) -> str:
    """Return the two control digits of a Spanish social security number."""
    value = int(number) + int(province) * _NSS_SHORT if int(number) < _NSS_SHORT else int(province + number)
    return f"{value % 97:02d}"


def ccc(digits: str) -> str:
    """Return one control digit of a Spanish account, over ten digits."""
    rest = 11 - sum(int(digit) * 2**place for place, digit in enumerate(digits)) % 11
    return str({10: 1, 11: 0}.get(rest, rest))


def iban(country: str, account: str) -> str:
    """Return the two check digits of an IBAN (ISO 7064, MOD 97-10)."""
    return f"{98 - int(''.join(str(int(sign, 36)) for sign in account + country + '00')) % 97:02d}"


def _spelt(number: str) -> str:
    return "".join(sign if sign.isdigit() else f"{ord(sign) - 64:02d}" for sign in number)


def _cross_sums(digits: str, weights: tuple[int, ...]) -> int:
    return sum(sum(divmod(int(digit) * weight, _TEN)) for digit, weight in zip(digits, cycle(weights)))
