"""Codes are compared exactly, by category, and by what lies above them."""

import pytest

from medtune.evaluation.icd import are_codes, as_code, hierarchy_of
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import survey
from medtune.evaluation.tasks import ClassificationTask
from medtune.specs import TaskSpec


@pytest.mark.parametrize(
    ("text", "code"),
    [("J18.9", "J18.9"), ("j189", "J18.9"), (" E11 ", "E11"), ("250.01", "250.01"), ("V58.61", "V58.61"), ("S72.001A", "S72.001A"),
     ("4280", "428.0"), ("25000", "250.00"), ("V5861", "V58.61"), ("401", "401"),
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


def scored(tasks, rows, declared=()):
    contracts = survey([row.example for row in rows], declared)
    [contract] = contracts.members
    return score_predictions(rows, bind(tasks, contracts)).tasks["classification"].metrics, contract


@pytest.mark.parametrize("odd", ["none", "No finding", "unknown", "J18.9 (?)"])
def test_a_row_without_a_code_does_not_turn_the_others_into_words(odd, tasks, predict_of):
    rows = [predict_of(f"J18{i % 9}", f"J18.{i % 9}", source="icd") for i in range(60)] + [
        predict_of(odd, odd, source="icd")
    ]
    metrics, contract = scored(tasks, rows)
    assert (metrics["accuracy"], metrics["accuracy_category"], metrics["hierarchy_f1"]) == (1, 1, 1)
    assert contract.known.endswith("of 61 answers are codes of the ICD")


@pytest.mark.parametrize("none", ["none", "No finding", ""])
def test_several_codes_are_codes_with_or_without_their_point_and_beside_empty_rows(none, tasks, predict_of):
    golds = ["J18.9, I10", "J189", "I10, E119", "E11.9, J18.9", "I10"] * 6 + [none] * bool(none)
    rows = [predict_of("R05.9, " + gold.replace(".", "") if gold != none else none, gold, source="s") for gold in golds]
    metrics, contract = scored(tasks, rows)
    assert contract.kind == "multi-label"
    assert set(contract.labels) - {"None", "none", "No finding"} == {"E11.9", "I10", "J18.9"}
    assert (metrics["micro_recall"], metrics["micro_precision"]) == (1, pytest.approx(48 / 78))


def test_a_few_rows_of_several_codes_make_all_rows_such(predict_of):
    golds = [f"J18.{i % 9}" for i in range(30)] + ["J18.1; I10", "J18.2; E11.9"]
    [found] = survey([predict_of("", gold, source="s").example for gold in golds]).members
    assert (found.kind, found.separator) == ("multi-label", ";")


def test_codes_of_the_ninth_revision_are_read_as_mimic_spells_them(tasks, predict_of):
    golds = ["428.0", "250.00", "E885.9", "V58.61"] * 4
    written, pointless = (
        scored(tasks, [predict_of(change(gold), gold, source="s") for gold in golds])[0]
        for change in (str, lambda gold: gold.replace(".", ""))
    )
    assert written == pointless
    assert (written["accuracy"], written["hierarchy_f1"]) == (1, 1)
    back, contract = scored(tasks, [predict_of(gold, gold.replace(".", ""), source="s") for gold in golds])
    assert back["accuracy"] == 1
    assert set(contract.labels) == set(golds)


def test_one_declared_code_makes_mere_numbers_codes(tasks, predict_of):
    rows = [predict_of("428.0", "4280", source="s"), predict_of("25000", "25000", source="s")] * 6
    assert scored(tasks, rows)[0]["accuracy"] == 0.5
    declared = TaskSpec(source="s", kind="classification", labels=("428.0",))
    assert scored(tasks, rows, [declared])[0]["accuracy"] == 1
