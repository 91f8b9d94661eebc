"""Lists and JSON are compared as sets of what they hold."""

import json
import random

import pytest

from medtune.evaluation.extracted_items import items_in
from medtune.evaluation.task_contracts import Contracts, TaskContract
from medtune.evaluation.tasks import ExtractionTask


def score_of(predict_of, text, gold):
    return ExtractionTask().score([predict_of(text, gold)])


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ('{"dose": "20 mg", "drug": "aspirin"}', '{"drug": "aspirin", "dose": "20 mg"}'),
        ('```json\n{"dose": 20.0}\n```', '{"dose": 20}'),
        ('["b", "a"]', '["a", "b"]'),
        ('[{"type": "DRUG", "text": "x"}, {"text": "y", "type": "SIGN"}]', '[{"text": "y", "type": "SIGN"}, {"text": "x", "type": "DRUG"}]'),
        ("ataxia; Huntington disease", "Huntington disease; ataxia"),
        ("- ataxia\n- fever", "fever\nataxia"),
        ("heart : I\nbowel : B", "bowel : B\nheart: I"),
        ("cafe\u0301; x", "caf\u00e9; x"),
    ],
)  # fmt: skip
def test_the_same_items_in_another_order_are_right(text, gold, predict_of):
    score = score_of(predict_of, text, gold)
    assert (score.metrics["item_f1"], score.metrics["accuracy"], score.failures["invalid_answer"]) == (1, 1, 0)


def test_items_are_counted_one_by_one(predict_of):
    score = score_of(predict_of, '{"drug": "aspirin", "dose": "200 mg"}', '{"drug": "aspirin", "dose": "20 mg"}')
    assert (score.metrics["item_f1"], score.metrics["accuracy"]) == (0.5, 0)
    assert score_of(predict_of, "Aspirin; x", "aspirin; x").metrics["item_f1_lenient"] == 1


def test_offsets_are_scored_apart(predict_of):
    gold = json.dumps({"entities": [{"text": "aspirin", "type": "DRUG", "start": 0, "end": 7}]})
    moved = gold.replace("7", "8")
    metrics = score_of(predict_of, moved, gold).metrics
    assert (metrics["item_f1"], metrics["item_f1_with_offsets"], metrics["accuracy"]) == (1, 0, 0)
    assert "item_f1_with_offsets" in score_of(predict_of, '["a"]', '["a"]').undefined


def test_what_is_no_json_is_invalid_and_no_entities_are_an_empty_list(predict_of):
    assert score_of(predict_of, "aspirin, I think", '["aspirin"]').failures["invalid_answer"] == 1
    told = score_of(predict_of, 'It is ["aspirin"] .', '["aspirin"]')
    assert (told.metrics["item_f1"], told.metrics["item_f1_lenient"], told.failures["invalid_answer"]) == (0, 1, 1)
    task = ExtractionTask(Contracts([TaskContract("", "extraction", "declared", separator=";")]))
    score = task.score([predict_of("none", "None"), predict_of("None", "no entities")])
    assert (score.metrics["accuracy"], "item_f1" in score.undefined) == (1, True)


@pytest.mark.parametrize(
    ("answer", "lenient"),
    [
        ('[{"a": "x"}, {"a": "y"}', 0),  # cut off: its first object is no answer
        ('{"a": {"b": "x"}, "c": [1, 2', 0),
        ('As seen in [page 1], it is [{"a": "x"}, {"a": "y"}] .', 1),
        ('The list {sorted}: [{"a": "x"}, {"a": "y"}]', 1),
    ],
)
def test_a_broken_answer_is_not_read_in_parts(answer, lenient, predict_of):
    gold = '[{"a": "x"}, {"a": "y"}]'
    rows = [predict_of(answer, gold, question="List ."), *[predict_of(gold, gold, question="List .")] * 3]
    score = ExtractionTask().score(rows)
    assert score.metrics["item_f1"] == pytest.approx(2 * 6 / 14)
    assert score.metrics["item_f1_lenient"] == pytest.approx(1 if lenient else 2 * 6 / 14)


def test_deep_json_ends(predict_of):
    assert items_in("[" * 5000 + "]" * 5000) is None or items_in("[" * 300 + "1" + "]" * 300) is not None


def agree_with_plain_sets(cases, seed, predict_of):
    rng = random.Random(seed)
    names = [f"entity {i}" for i in range(12)]
    rows, sums = [], [0, 0, 0]
    for _ in range(cases):
        gold, found = (rng.sample(names, rng.randint(1, 6)) for _ in range(2))
        as_json = rng.random() < 0.5
        written = [
            json.dumps(one) if as_json else ("; ".join(one) if len(one) > 1 else f"{one[0]};") for one in (found, gold)
        ]
        rows.append(predict_of(*written))
        for i, some in enumerate(({*gold} & {*found}, found, gold)):
            sums[i] += len(some)
    metrics = ExtractionTask().score(rows).metrics
    expected = (2 * sums[0] / (sums[1] + sums[2]), sums[0] / sums[1], sums[0] / sums[2])
    assert (metrics["item_f1"], metrics["item_precision"], metrics["item_recall"]) == pytest.approx(expected, abs=1e-12)


def test_items_agree_with_plain_sets(predict_of):
    agree_with_plain_sets(300, 0, predict_of)


@pytest.mark.proof
def test_items_agree_with_plain_sets_in_20000_cases(predict_of):
    agree_with_plain_sets(20_000, 1, predict_of)
