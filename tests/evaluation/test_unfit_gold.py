"""No answer to a gold answer that is none is right: an empty cell, and what is not of the kind of its source."""

import pytest

from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import SourceSurvey
from medtune.evaluation.tasks import provide_tasks
from medtune.specs import TaskSpec

TEXT = "the patient went home after a day of rest in bed"
OPTIONS = "Which ?\nA. x\nB. y"


def scored(predict_of, kind, pairs, question):
    rows = [predict_of(answer, gold, question=question, source="own") for answer, gold in pairs]
    found = SourceSurvey([TaskSpec(source="own", kind=kind)])
    found.take(row.example for row in rows)
    [score] = score_predictions(rows, bind(provide_tasks(), found.contracts())).tasks.values()
    return {name: value for name, value in score.metrics.items() if name not in score.undefined}


@pytest.mark.parametrize("answer", ["nan", "none", "[]", ""])
@pytest.mark.parametrize(
    ("kind", "right", "question", "share_of"),
    [
        ("tagging", "a : B-X\nb : O", "Tag .\n\na b", "exact_sequence exact_labels"),
        ("classification", "sick", "Which ?", "accuracy accuracy_lenient"),
        ("multi-label", "sick; old", "Which ?", "accuracy accuracy_lenient set_f1"),
        ("multi-label", "J18.9; I10", "Which ?", "accuracy accuracy_lenient accuracy_category"),
        ("relation", "causes", "@A$ @B$", "accuracy accuracy_lenient"),
        ("choice", "A", OPTIONS, "accuracy accuracy_lenient"),
        ("decision", "yes", "So ?", "accuracy accuracy_lenient"),
        ("extraction", '["x"]', "List .", "accuracy"),
        ("extraction", "x; y", "List .", "accuracy"),
        ("free-text", TEXT, "What ?", "rouge_l token_f1"),
        ("question", TEXT, "What ?", "rouge_l token_f1"),
    ],
)  # fmt: skip
def test_no_answer_to_an_empty_cell_is_right(kind, right, question, share_of, answer, predict_of):
    found = scored(predict_of, kind, [(right, right)] * 6 + [(answer, "nan")] * 2, question)
    assert {name: found[name] for name in share_of.split()} == dict.fromkeys(share_of.split(), 0.75)


def test_answers_that_are_no_tags_are_right_in_no_figure_of_tags(predict_of):
    found = scored(predict_of, "tagging", [("causes", "causes"), ("treats", "treats")] * 6, "Which ?")
    assert (found["exact_sequence"], found["exact_labels"]) == (0, 0)
