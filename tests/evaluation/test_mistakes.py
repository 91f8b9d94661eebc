"""What is wrong with an answer gets a name."""

import pytest

from medtune.evaluation.mistakes import RIGHT, mistakes_in
from medtune.evaluation.source_survey import SourceSurvey
from medtune.specs import TaskSpec

GOLD = "chest : B\npain : I\nand : O\nfever : B"


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (GOLD, [RIGHT]),
        ("", ["empty answer"]),
        ("chest : B\npain : I\nand : O\nfever : O", ["entity missed"]),
        ("chest : B\npain : I\nand : B\nfever : B", ["entity made up"]),
        ("chest : O\npain : B\nand : O\nfever : B", ["wrong boundary"]),
        ("chest : B\npain : I\nand : O\nfever : B-DRUG", ["wrong type"]),
        ("chest : B\npain : I\nand : O\nfever : ?", ["entity missed", "label that cannot be read"]),
        ("chest : B\npain : I\nfever : B", ["tokens without a line"]),
        (f"{GOLD}\nDone.", ["lines beyond the input"]),
        (f"{GOLD}\ncough : B", ["entity made up", "lines beyond the input"]),
    ],
)
def test_mistakes_in_tagging_are_told_apart(text, mistakes, predict_of):
    assert mistakes_in(predict_of(text, GOLD, task="ner")) == mistakes


@pytest.mark.parametrize(
    ("task", "gold", "text", "mistake"),
    [
        ("nli", "Neutral", "neutral.", RIGHT),
        ("nli", "Neutral", "Entailment", "wrong label"),
        ("relation", "TrAP", "dunno", "not one of the labels"),
        ("classification", "Inducing angiogenesis (A)", "inducing angiogenesis", RIGHT),
        ("classification", "Inducing angiogenesis (A)", "None", "label missed"),
        ("classification", "None", "Inducing angiogenesis (A)", "label too many"),
        ("classification", "None", "dunno", "not one of the labels"),
        ("qa", "###Answer: yes", "Yes", RIGHT),
        ("qa", "###Answer: yes", "no", "wrong option or decision"),
        ("qa", "###Answer: yes", "dunno", "no answer"),
        ("qa", "drink tea and rest", "drink tea", RIGHT),
        ("qa", "drink tea and rest", "run a mile", "ROUGE-L below 0.2"),
        ("letters", "a  b", "a b", RIGHT),
        (None, "a", "b", "differs from the gold answer"),
    ],
)
def test_mistakes_in_other_answers_are_told_apart(task, gold, text, mistake, predict_of):
    assert mistakes_in(predict_of(text, gold, task=task)) == [mistake]


@pytest.mark.parametrize(
    ("kind", "golds", "text", "mistake"),
    [
        ("relation", ["is caused by", "treats"], "causes", RIGHT),
        ("relation", ["is caused by", "treats"], "treats", "wrong label"),
        ("relation", ["is caused by", "treats"], "dunno", "not one of the labels"),
        ("multi-label", ["is caused by; treats", "treats"], "treats; causes", RIGHT),
        ("multi-label", ["is caused by; treats", "treats"], "treats", "label missed"),
        ("extraction", ["a; b", "c"], "b; a", RIGHT),
        ("choice", ["A", "B"], "A. left", RIGHT),
        ("free-text", ["yes", "no"], "yes", RIGHT),
    ],
)
def test_answers_that_their_source_makes_right_are_no_mistakes(kind, golds, text, mistake, predict_of):
    has_labels = kind in ("relation", "multi-label")
    spec = TaskSpec(source="own", kind=kind, aliases={"is caused by": "causes"} if has_labels else {})
    asked = {"question": "Which ?\nA. left\nB. right", "source": "own"}
    found = SourceSurvey([spec])
    found.take(predict_of("", gold, **asked).example for gold in golds * 6)
    contracts = found.contracts()
    row = predict_of(text, golds[0], task=contracts.members[0].task, **asked)
    assert mistakes_in(row, contracts) == [mistake]


def test_a_source_of_many_labels_is_read(predict_of):
    golds = [f"label{i}" for i in range(1200)] * 3
    found = SourceSurvey()
    found.take(predict_of("", gold, question="Which ?", source="own").example for gold in golds)
    row = predict_of("label7", "label8", question="Which ?", source="own", task="classification")
    assert mistakes_in(row, found.contracts()) == ["wrong label"]


def test_a_cut_off_answer_is_named_first(predict_of):
    found = mistakes_in(predict_of("chest : B", GOLD, task="ner", truncated=True))
    assert found == ["cut off at the token limit", "entity missed", "wrong boundary", "tokens without a line"]
