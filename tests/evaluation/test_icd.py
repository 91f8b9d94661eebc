"""Codes are compared exactly, by category, and by what lies above them."""

import pytest

from medtune.evaluation.icd import are_codes, as_code, hierarchy_of
from medtune.evaluation.tasks import ClassificationTask


@pytest.mark.parametrize(
    ("text", "code"),
    [("J18.9", "J18.9"), ("j189", "J18.9"), (" E11 ", "E11"), ("250.01", "250.01"), ("V58.61", "V58.61"), ("S72.001A", "S72.001A"),
     ("pneumonia", None), ("J18.9 pneumonia", None), ("A", None)],
)  # fmt: skip
def test_codes_are_told_from_words(text, code):
    assert as_code(text) == code


def test_numbers_alone_are_no_codes():
    assert not are_codes(["100", "200"])
    assert are_codes(["250.0", "401"])
    assert not are_codes(["J18.9", "flu"])


@pytest.mark.parametrize(
    ("code", "chapter"),
    [("J18.9", "J00"), ("D48", "C00"), ("D50", "D50"), ("H59", "H00"), ("H60", "H60"), ("Z99", "Z00")],
)
def test_chapters_are_those_of_the_who(code, chapter):
    assert f"chapter {chapter}" in hierarchy_of(code)


def test_a_near_miss_counts_by_what_it_shares(predict_of):
    texts = ["J18.9", "J18.1", "J44.9", "pneumonia"]
    score = ClassificationTask().score([predict_of(text, "J18.9") for text in texts])
    assert score.metrics["accuracy"] == 0.25
    assert score.metrics["accuracy_category"] == 0.5
    # shared with what lies above J18.9 (three): three, two and one; claimed: three each of the codes
    assert score.metrics["hierarchy_f1"] == pytest.approx(2 * (3 + 2 + 1) / (9 + 12))
    assert score.failures["invalid_answer"] == 0.25
