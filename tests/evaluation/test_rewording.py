"""The same rows are asked in the other paraphrases of their source."""

import pytest

from medtune.evaluation.paraphrases import reworded, spread
from medtune.evaluation.scoring import score_predictions
from medtune.plugins.contracts import Example


def example_of(instruction, given, **facts):
    content = f"{instruction}\n\n{given}" if given else instruction
    return Example([{"role": "user", "content": content}, {"role": "assistant", "content": "Neutral"}], **facts)


def asked(example):
    return tuple(example.messages[0]["content"].split("\n\n", 1))


EXAMPLES = [example_of(f"paraphrase {i % 3}", f"first part\n\nrow {i}", source="s") for i in range(7)]


def test_every_paraphrase_meets_every_row_once():
    variants = reworded(EXAMPLES, 3)
    assert variants[0] == EXAMPLES
    for place, example in enumerate(EXAMPLES):
        met = [asked(variant[place]) for variant in variants]
        assert {instruction for instruction, _given in met} == {"paraphrase 0", "paraphrase 1", "paraphrase 2"}
        assert {given for _instruction, given in met} == {asked(example)[1]}
        assert all(list(variant[place].messages[1:]) == example.messages[1:] for variant in variants)


def test_paraphrases_of_another_source_or_task_are_not_taken():
    others = [example_of("tag it", "x", task="ner"), example_of("judge it", "y", task="nli")]
    assert [asked(example) for example in reworded(others, 2)[1]] == [("tag it", "x"), ("judge it", "y")]


def test_a_row_without_instruction_stays_as_it_is():
    rows = [example_of("just a question", ""), *EXAMPLES]
    assert reworded(rows, 2)[1][0] == rows[0]


def test_the_spread_says_how_scores_vary(tasks, predict_of):
    rows = [
        [predict_of("Neutral" if i < right else "no", "Neutral", task="nli") for i in range(10)] for right in (4, 7, 10)
    ]
    found = spread([score_predictions(each, tasks, intervals=False) for each in rows])["nli"]
    assert found.pop("mean") == pytest.approx(0.7)
    assert found == {"metric": "accuracy", "values": [0.4, 0.7, 1.0], "lowest": 0.4, "highest": 1.0}
    assert spread([]) == {}
