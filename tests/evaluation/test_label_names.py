"""A source has the labels of its own rows, and what says "nothing of it" says so in any spelling."""

import pytest

from medtune.evaluation.medtuned import HALLMARKS, RELATIONS
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import SourceSurvey, survey
from medtune.evaluation.tasks import provide_tasks
from medtune.specs import TaskSpec

MASKED = "Is there a relation ?\n\n@GENE$ is seen in @DISEASE$ ."


def told(predict_of, golds, question=MASKED):
    return survey([predict_of("", gold, question=question, source="own").example for gold in golds]).members[0]


@pytest.mark.parametrize(
    ("golds", "expected"),
    [
        (["Causes", "Treats", "No Relations"], {"Causes", "Treats", "No Relations"}),  # as medtune import writes them
        (["Causes", "No Relations"], {"Causes", "No Relations"}),
        (["No Relations"], {"No Relations"}),
        (["TrAP", "No Relations"], {*RELATIONS}),
        (["TrAP", "TeRP", "TrIPP"], {*RELATIONS, "TrIPP"}),  # a slip of the pen
    ],
)
def test_relations_of_others_are_not_those_of_medtuned(golds, expected, predict_of):
    assert {*told(predict_of, golds * 6).labels} == expected


def test_labels_of_inference_of_others_are_not_those_of_medtuned(predict_of):
    found = told(predict_of, ["Neutral", "Follows", "Contradicts"] * 6, "Premise: a\nHypothesis: b")
    assert {*found.labels} == {"Neutral", "Follows", "Contradicts"}


@pytest.mark.parametrize("kind", ["classification", "multi-label", "relation", "inference"])
def test_a_source_without_rows_has_no_labels_of_medtuned(kind):
    [found] = SourceSurvey([TaskSpec(source="own", kind=kind)]).contracts().members
    assert not {*found.labels} & {*HALLMARKS, *RELATIONS, "Entailment"}


@pytest.mark.parametrize(
    ("negative", "positive"),
    [("keine", "verursacht"), ("\u65e0", "\u6cbb\u7597"), ("\u65e0\u5173\u7cfb", "\u6cbb\u7597"), ("aucune", "cause"), ("ninguna", "causa"), ("\u5426", "\u662f"), ("nein", "ja")],
)  # fmt: skip
def test_labels_of_other_languages_say_nothing_of_it_too(negative, positive, predict_of):
    assert tuple(told(predict_of, [negative, positive] * 6).negative) == (negative,)


@pytest.mark.parametrize(
    ("gold", "answer"), [("No relation", "none"), ("none", "No Relations"), ("\u65e0\u5173\u7cfb", "\u65e0")]
)
def test_nothing_in_other_words_is_the_negative_label(gold, answer, predict_of):
    rows = [predict_of(a, g, question=MASKED, source="own") for a, g in [(answer, gold), ("causes", "causes")] * 6]
    found = SourceSurvey()
    found.take(row.example for row in rows)
    [score] = score_predictions(rows, bind(provide_tasks(), found.contracts())).tasks.values()
    assert (score.metrics["accuracy"], score.metrics["macro_f1"], score.failures["invalid_answer"]) == (1, 1, 0)


def test_nothing_is_no_label_where_two_say_so_or_none_does(predict_of):
    for golds in (["N/A", "no relation", "causes"], ["causes", "treats"]):
        rows = [predict_of("none" if g != "causes" else g, g, question=MASKED, source="own") for g in golds * 6]
        found = SourceSurvey()
        found.take(row.example for row in rows)
        [score] = score_predictions(rows, bind(provide_tasks(), found.contracts())).tasks.values()
        assert score.metrics["accuracy"] == golds.count("causes") / len(golds)
