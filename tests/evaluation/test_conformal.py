"""Sets of allowed answers hold the right one as often as they say, and are those of crepes."""

import math
from fractions import Fraction

import numpy as np
import pytest

from medtune.evaluation.conformal import halves, judge_sets, least_rows, prediction_set, set_threshold

ALPHAS = ("0.01", "0.05", "0.1", "0.2", "0.3")


def drawn(rng, rows, answers):
    """Return probabilities [rows, answers], some alike, and right answers that follow them."""
    scores = rng.normal(0, rng.uniform(0.5, 3), (rows, answers))
    if rng.random() < 0.3:
        scores = scores.round()
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gold = np.array([rng.choice(answers, p=row) for row in probabilities])
    return probabilities, gold


def cases(count, seed):
    """Yield calibration rows, the probabilities of their right answers, rows to judge, and alpha as text."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        rows, answers = int(rng.integers(1, 60)), int(rng.integers(2, 6))
        probabilities, gold = drawn(rng, rows, answers)
        others, _ = drawn(rng, 4, answers)
        yield probabilities[np.arange(rows), gold], others, str(rng.choice(ALPHAS))


def sets_of(right, others, alpha):
    threshold = set_threshold(right, float(alpha))
    return np.ones(others.shape, dtype=bool) if threshold is None else prediction_set(others, threshold)


def test_an_answer_belongs_to_a_set_when_its_p_value_is_above_alpha():
    """The definition, counted in whole numbers: rows whose right answer is no more probable, the answer itself included."""
    for right, others, alpha in cases(300, 0):
        for row, found in zip(others, sets_of(right, others, alpha), strict=True):
            p_values = [Fraction(1 + int((right <= each).sum()), len(right) + 1) for each in row]
            assert found.tolist() == [p > Fraction(alpha) for p in p_values]


@pytest.mark.proof
def test_sets_are_those_of_crepes_in_20000_cases():
    base = pytest.importorskip("crepes.base", reason="crepes is not installed: pip install 'medtune[dev]'")
    for right, others, alpha in cases(20_000, 1):
        judge = base.ConformalClassifier()
        judge.fit(-right)  # one minus a probability would round two of them to one
        # crepes takes p >= alpha; the definition is p > alpha, which a little more than alpha asks for
        expected = judge.predict_set(-others, confidence=1 - float(alpha) - 1e-9, smoothing=False)
        assert sets_of(right, others, alpha).tolist() == expected.astype(bool).tolist()


def coverage(rows, alpha, splits):
    """Return the mean share of sets that hold the right answer, over fresh draws."""
    rng, found = np.random.default_rng(rows), []
    for split in range(splits):
        probabilities, gold = drawn(rng, rows, 4)
        told = judge_sets(list(probabilities), gold.tolist(), range(rows), alpha, split)
        found.append(told["coverage"])
    return float(np.mean(found))


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_sets_hold_the_right_answer_as_often_as_they_say(alpha):
    """At least 1 - alpha on average over draws, and hardly more: 1 / (n + 1) at most where no two are alike."""
    found = coverage(60, alpha, 200)
    error = math.sqrt(alpha * (1 - alpha) / (200 * 30)) * 2
    assert 1 - alpha - 3 * error <= found <= 1 - alpha + 1 / 31 + 0.03


def test_too_few_rows_give_no_sets_and_say_so():
    probabilities = [np.array([0.9, 0.1])] * 16
    told = judge_sets(probabilities, [0] * 16, range(16), 0.1)
    assert (told["threshold"], told["coverage"], told["calibrated_on"]) == (None, None, 8)
    assert told["reason"] == "too few rows: 8 of the 9 that sets need"
    assert [least_rows(alpha) for alpha in (0.1, 0.05, 0.3, 0.01)] == [9, 19, 3, 99]
    assert set_threshold(np.full(9, 0.5), 0.1) == 0.5
    assert judge_sets([], [], [], 0.1)["reason"].startswith("too few rows: 0 of")


def test_sets_tell_how_large_they_are():
    probabilities = [np.array([0.9, 0.1])] * 30 + [np.array([0.5, 0.5])] * 10
    told = judge_sets(probabilities, [0] * 40, range(40), 0.1)
    assert told["threshold"] == 0.5
    assert told["coverage"] == 1
    assert told["single"] == pytest.approx(2 - told["mean_size"])


def test_rows_of_one_document_stand_in_the_same_half():
    units = [i // 7 for i in range(140)]
    first, second = halves(units, 3)
    assert sorted([*first, *second]) == list(range(140))
    assert {units[i] for i in first}.isdisjoint(units[i] for i in second)
    assert len({units[i] for i in first}) == 10
    assert halves(units, 4)[0].tolist() != first.tolist()
    assert [len(half) for half in halves([], 0)] == [0, 0]
