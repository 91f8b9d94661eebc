"""Texts that turn a finding round, or give another dose, are told apart from those that use other words."""

import pytest

from medtune.evaluation.overlap import rouge_l
from medtune.evaluation.plain_text import words
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import survey
from medtune.evaluation.tasks import provide_tasks
from medtune.evaluation.tasks.qa import QaTask
from medtune.evaluation.text_flags import agreement, numbers
from medtune.specs import TaskSpec


@pytest.mark.parametrize(
    ("text", "gold", "negation", "number"),
    [
        ("evidence of pneumonia", "no evidence of pneumonia", False, None),
        ("no evidence", "evidence", False, None),
        ("There is no fracture.", "A fracture is absent.", True, None),
        ("She denies fever, cough for a week.", "No fever. Cough for one week.", True, None),
        ("Take 50 mg daily", "Take 5 mg daily", None, False),
        ("Take 5 mg daily", "5 mg once a day", None, True),
        ("5 g", "5 mg", None, False),
        ("1,000 IU", "1000 IU", None, True),
        ("0.5 mg", "0,5 mg", None, True),
        ("the pain doesn't radiate", "the pain does radiate", False, None),
        ("stable", "unchanged", None, None),
        ("\u6bcf\u65e5\u670d\u752850\u6beb\u514b", "\u6bcf\u65e5\u670d\u75285\u6beb\u514b", None, False),
        ("\u6bcf\u65e5\u670d\u7528\uff15\u6beb\u514b", "\u6bcf\u65e5\u670d\u75285\u6beb\u514b", None, True),
        ("\u6bcf\u65e5\u670d\u7528\u4e94\u5341\u6beb\u514b", "\u6bcf\u65e5\u670d\u752850mg", None, True),
        ("\u6bcf\u65e5\u670d\u7528\u4e94\u5341\u6beb\u514b", "\u6bcf\u65e5\u670d\u7528\u4e94\u6beb\u514b", None, False),
        ("\u60a3\u8005\u6709\u53d1\u70ed\u3002", "\u60a3\u8005\u6ca1\u6709\u53d1\u70ed\u3002", False, None),
        ("\u60a3\u8005\u65e0\u53d1\u70ed\uff0c\u54b3\u55fd", "\u6ca1\u6709\u53d1\u70ed\uff0c\u54b3\u55fd", True, None),
        ("\u975e\u5e38\u75bc", "\u5f88\u75bc", None, None),
        ("Fraktur", "keine Fraktur", False, None),
        ("Kein Hinweis auf eine Blutung", "Hinweis auf eine Blutung", False, None),
        ("10 Tage", "100 Tage", None, False),
        ("10 Tage", "10 days", None, True),
        ("fi\u00e8vre", "pas de fi\u00e8vre", False, None),
        ("con fiebre", "sin fiebre", False, None),
        ("febbre", "senza febbre", False, None),
        ("com febre", "sem febre", False, None),
        ("koorts", "geen koorts", False, None),
        ("PAS stain of cells", "stain of cells", None, None),
    ],
)
def test_negations_and_numbers_agree_or_not(text, gold, negation, number):
    assert agreement(text, gold) == (negation, number)
    assert agreement(gold, text) == (negation, number)


def test_the_shares_that_agree_are_figures_of_free_text(predict_of):
    rows = [
        predict_of("Give 50 mg of it now", "Give 5 mg of it now"),
        predict_of("Give 5 mg of it now", "Give 5 mg of it now"),
        predict_of("there is evidence of it", "there is no evidence of it"),
    ]
    metrics = QaTask().score(rows).metrics
    assert (metrics["number_agreement"], metrics["negation_agreement"]) == (0.5, 0)


@pytest.mark.parametrize("written", ["5 \u00b5g", "5 \u03bcg", "5 mcg", "5ug", "5 \u5fae\u514b", "5,0 MCG"])
def test_micrograms_are_micrograms_however_they_are_written(written):
    assert numbers(written) == numbers("5 \u00b5g") != numbers("5 mg")
    assert numbers(f"{written}/kg") == (numbers("5 mcg/kg") if "\u5fae" not in written else numbers(f"{written}/kg"))


def test_numbers_keep_their_units():
    assert numbers("2 x 500 mg, 38.5, 90 %") == {(2.0, ""), (500.0, "mg"), (38.5, ""), (90.0, "%")}


def test_scripts_without_spaces_are_compared_by_characters():
    assert words("患者CT检查") == ["患", "者", "ct", "检", "查"]
    assert rouge_l("患者应服用布洛芬", "患者应服用阿司匹林") == pytest.approx(2 * 5 / (8 + 9))
    assert words("ผู้ป่วย")


def test_accents_are_the_same_in_either_normal_form():
    assert rouge_l("le\u0301sion grave", "l\u00e9sion grave") == 1


@pytest.mark.parametrize("kind", ["tagging", "classification", "multi-label", "choice", "extraction", "free-text"])
def test_the_micro_sign_is_the_letter_mu_in_every_task(kind, predict_of):
    golds = {
        "tagging": ["50 : B\n\u00b5g : I"],
        "classification": ["50 \u00b5g", "50 mg"],
        "multi-label": ["\u00b5g; mg", "mg"],
        "choice": ["50 \u00b5g", "50 mg"],
        "extraction": ['{"dose": "50 \u00b5g"}'],
        "free-text": ["She took 50 \u00b5g of it"],
    }[kind]
    asked = {"question": "Which ?\nA. 50 \u00b5g\nB. 50 mg", "source": "own"}
    rows = [predict_of(gold.replace("\u00b5", "\u03bc"), gold, **asked) for gold in golds * 6]
    contracts = survey([row.example for row in rows], [TaskSpec(source="own", kind=kind)])
    [score] = score_predictions(rows, bind(provide_tasks(), contracts)).tasks.values()
    assert score.metrics[score.primary] == 1


@pytest.mark.parametrize(
    ("text", "gold", "agrees"),
    [
        ("stroke was ruled out", "stroke", False),
        ("CT rules out stroke", "CT shows stroke", False),
        ("CT ruled out stroke", "no stroke", True),
        ("stroke is ruled out", "stroke excluded", True),
        ("pneumonia is not seen", "no evidence of pneumonia seen", True),
        ("pneumonia is not seen", "pneumonia is seen", False),
        ("Fieber nicht vorhanden", "kein Fieber", True),
        ("Fieber nicht vorhanden", "Fieber vorhanden", False),
    ],
)
def test_what_is_ruled_out_or_not_seen_is_negated(text, gold, agrees):
    assert agreement(text, gold).negation is agrees
