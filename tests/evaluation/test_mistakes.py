"""What is wrong with an answer gets a name."""

import pytest

from medtune.evaluation.mistakes import RIGHT, mistakes_in

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


def test_a_cut_off_answer_is_named_first(predict_of):
    found = mistakes_in(predict_of("chest : B", GOLD, task="ner", truncated=True))
    assert found == ["cut off at the token limit", "entity missed", "wrong boundary", "tokens without a line"]
