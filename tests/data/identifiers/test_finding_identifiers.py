"""Identifiers are found by rules in four languages, and what only looks like one is left alone."""

import time
from itertools import pairwise

import pytest

from medtune.data.identifiers.finding import find_identifiers

FOUND = [
    ("name", "Seen by Dr. Ashdown-Corlett on the ward.", "Ashdown-Corlett"),
    ("name", "Die Tochter von Herrn Dr. med. Zöllinger-Brandt ruft an.", "Zöllinger-Brandt"),
    ("name", "Mme Lefèvre est venue avec son fils.", "Lefèvre"),
    ("name", "Firmado: Dra. Pilar Gómez de la Vega", "Pilar Gómez de la Vega"),
    ("name", "| Name | CORLETT, Ash |", "CORLETT, Ash"),
    ("name", "seen by dr. patel today and went home with no fever at all", "patel"),
    ("place", "She lives at 12 Harrow Lane, Springfield, IL 62704.", "12 Harrow Lane"),
    ("place", "Anschrift: Lindenstraße 12a, 80331 München", "Lindenstraße 12a"),
    ("place", "Il habite 12 bis rue de la Paix, 75002 Paris.", "12 bis rue de la Paix"),
    ("place", "Vive en C/ Mayor 12, 28013 Madrid.", "C/ Mayor 12"),
    ("place", "Postcode SW1A 1AA, no pets.", "SW1A 1AA"),
    ("date", "Admitted on 03/12/2021 with fever.", "03/12/2021"),
    ("date", "Aufnahme vom 3. bis 5. März 2020.", "3. bis 5. März 2020"),
    ("date", "Vu le lundi 3 mars 2021 pour toux.", "lundi 3 mars 2021"),
    ("date", "Ingresó el 3 de mayo de 2021.", "3 de mayo de 2021"),
    ("date", "Seen in March 2021 for cough.", "March 2021"),
    ("date", "Born in 1926 on a farm.", "1926"),
    ("age_over_89", "A 94-year-old man with cough.", "94-year-old"),
    ("age_over_89", "Die 93-jährige Patientin klagt.", "93-jährige"),
    ("phone", "Call (555) 123-4567 for results.", "(555) 123-4567"),
    ("phone", "Tel. 030 1234567 ist besetzt.", "030 1234567"),
    ("phone", "Tél. 01 23 45 67 89 le soir.", "01 23 45 67 89"),
    ("phone", "Tfno 612 345 678 por la tarde.", "612 345 678"),
    ("fax", "Fax: 555-222-1111", "555-222-1111"),
    ("email", "Write to a.corlett@example.org today.", "a.corlett@example.org"),
    ("ssn", "SSN 123-45-6789 on file.", "123-45-6789"),
    ("ssn", "NINO QQ 12 34 56 C noted.", "QQ 12 34 56 C"),
    ("ssn", "NIR 2 55 08 14 168 025 38 noté.", "2 55 08 14 168 025 38"),
    ("ssn", "Con DNI 12345678Z en regla.", "12345678Z"),
    ("ssn", "Die Steuer-ID ist 36 574 261 809.", "36 574 261 809"),
    ("record_number", "MRN: 0012345, seen today.", "0012345"),
    ("record_number", "Fallnummer 2021-004711, Station 3.", "2021-004711"),
    ("health_plan_number", "NHS No 943 476 5919, seen.", "943 476 5919"),
    ("health_plan_number", "Versichert unter T555558879.", "T555558879"),
    ("account_number", "IBAN DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00"),
    ("licence_number", "Driving licence no. MORGA753116SM9IJ", "MORGA753116SM9IJ"),
    ("vehicle", "License plate 7ABC123 was seen.", "7ABC123"),
    ("device", "Pacemaker serial number PK-448812 works.", "PK-448812"),
    ("url", "See https://example.org/p/17?x=1.", "https://example.org/p/17?x=1"),
    ("ip_address", "Logged in from 192.168.10.44 at night.", "192.168.10.44"),
    ("biometric", "Her fingerprint template FP-22ab91 is stored.", "FP-22ab91"),
    ("photo", "Photo stored as face_0012.jpg there.", "face_0012.jpg"),
    ("other_number", "Sample LAB-2021-00417 was spoilt.", "LAB-2021-00417"),
]


@pytest.mark.parametrize(("kind", "text", "identifier"), FOUND, ids=[f"{k}-{t[:24]}" for k, t, _i in FOUND])
def test_an_identifier_is_found_whole_and_by_its_kind(kind, text, identifier):
    start = text.index(identifier)
    covering = [f for f in find_identifiers(text) if f.start <= start and start + len(identifier) <= f.end]
    assert [f.kind.value for f in covering] == [kind], find_identifiers(text)


CLEAN = [
    "Mild Parkinson disease, Glasgow Coma Scale 15, stage pT2 N0 M0, BRCA1 c.5266dupC.",
    "Morbus Crohn, Parkinson-Syndrom, Z.n. Appendektomie 2011, Kalium 3,8, Blutdruck 120/80 mmHg.",
    "Maladie de Crohn depuis 2015, signe de Babinski négatif, 5 mg 3x/j.",
    "Enfermedad de Parkinson, escala de Glasgow 15, TA 120/80, glucosa 90-110.",
    "ICD-10 E11.9, LOINC 718-7 and SNOMED CT 44054006, ATC C09AA05, trial NCT01234567.",
    "Foley catheter 16 Fr, L4/5, 12.5-14.0 g/dL, dose 1-0-1, 250 000 units, aged 72.",
    "Call 911 in an emergency. St. John's wort was stopped in 2019.",
    "Smith et al. reported 12 of 340 patients over 90 years old.",
]


@pytest.mark.parametrize("text", CLEAN, ids=[t[:24] for t in CLEAN])
def test_what_looks_like_an_identifier_and_is_none_is_left_alone(text):
    assert find_identifiers(text) == []


def test_a_name_once_told_is_known_wherever_it_stands_again():
    text = "Mrs Quillfeather was seen. Later Quillfeather slept."
    assert [text[f.start : f.end] for f in find_identifiers(text)] == ["Quillfeather", "Quillfeather"]


def test_findings_stand_in_order_and_apart():
    text = " ".join(text for _kind, text, _identifier in FOUND)
    found = find_identifiers(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(0 <= f.start < f.end <= len(text) for f in found)


PARTS = [
    "A1-",
    "1 ",
    "12/3",
    "Ab ",
    "a@",
    "de la ",
    "(",
    "Dr. ",
    "+1 ",
    "x" * 40,
    "É-",
    "\n| ",
    "AA BB ",
    "Dr. Aa, Bb; ",
    "a;1;",
]
PARTS += ["\nPID|1^", "Aa (12) ", "in Aa ", "Aa - ", "by A. Aa "]


@pytest.mark.parametrize("part", PARTS)
def test_no_text_takes_longer_than_its_length_asks_for(part):
    def seconds(count):
        began = time.process_time()
        find_identifiers(part * count)
        return time.process_time() - began

    small, large = max(seconds(1_000), 0.03), seconds(8_000)
    assert large < 8 * small * 6, "eight times the text takes far more than eight times as long"


@pytest.mark.parametrize("blank", [" ", "_", ".", "-", "\t"])
def test_a_long_run_of_one_sign_takes_no_longer(blank):
    began = time.process_time()
    find_identifiers("Dr. Harrow" + blank * 30_000)
    assert time.process_time() - began < 2, "the square of the run's length takes ten seconds"
