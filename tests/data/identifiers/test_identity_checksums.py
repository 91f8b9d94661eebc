"""Check digits: numbers that issuers publish as examples pass, and one wrong digit is always or nearly always seen."""

import pytest

from medtune.data.identifiers import checksums

EXAMPLES = {
    checksums.is_nhs: "9434765919",
    checksums.is_kvnr: "T555558879",
    checksums.is_steuer_id: "36574261809",
    checksums.is_personalausweis: "T220001293",
    checksums.is_rentennummer: "15070649C103",
    checksums.is_nir: "255081416802538",
    checksums.is_dni: "12345678Z",
    checksums.is_nuss: "281234567840",
    checksums.is_iban: "DE89370400440532013000",
    checksums.is_card: "4111111111111111",
    checksums.is_dea: "AB1234563",
}


@pytest.mark.parametrize("check", EXAMPLES, ids=lambda check: check.__name__)
def test_a_right_number_passes_and_one_with_a_wrong_digit_hardly_ever(check):
    number = EXAMPLES[check]
    assert check(number)
    wrong = [
        number[:at] + str((int(digit) + step) % 10) + number[at + 1 :]
        for at, digit in enumerate(number)
        if digit.isdecimal()
        for step in range(1, 10)
    ]
    assert sum(map(check, wrong)) <= len(wrong) * 0.05
    assert not check(number[:-1])
    assert not check("")
