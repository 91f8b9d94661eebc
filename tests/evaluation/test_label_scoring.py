"""How sure a model is of allowed answers, and how far being sure and being right agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from medtune.evaluation.label_scoring import calibrate, label_probabilities


@given(st.lists(st.floats(-500, 0), min_size=2, max_size=9))
def test_probabilities_sum_to_one_and_keep_the_order(values):
    scores = np.array(values)
    found = label_probabilities(scores)
    assert found.sum() == pytest.approx(1)
    assert found[scores.argmax()] == found.max()


def test_probabilities_of_several_questions_are_normalised_each_by_itself():
    scores = np.array([[-1.0, -2.0, -3.0], [-700.0, -690.0, -705.0]])
    assert label_probabilities(scores) == pytest.approx(np.array([label_probabilities(row) for row in scores]))


def test_probabilities_per_token_do_not_punish_long_answers():
    scores, tokens = np.array([-4.0, -6.0]), np.array([1.0, 4.0])
    assert label_probabilities(scores).argmax() == 0
    assert label_probabilities(scores, tokens).argmax() == 1


def test_the_reliability_curve_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 4000)
    right = (rng.random(4000) < confidence**2).astype(int)
    rows = [np.array([c, 1 - c]) for c in confidence]
    found = calibrate(rows, [0 if r else 1 for r in right], bins=10)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    assert [b.accuracy for b in found.bins] == pytest.approx(accuracy)
    assert [b.confidence for b in found.bins] == pytest.approx(mean)
    shares = [b.rows / 4000 for b in found.bins]
    assert found.ece == pytest.approx(float(np.dot(shares, np.abs(accuracy - mean))))
    assert found.accuracy == pytest.approx(right.mean())


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    found = calibrate([np.array([0.75, 0.25])], [0], bins=4).bins
    assert [(b.low, b.high) for b in found] == [(0.5, 0.75)]


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not():
    sure = [np.array([1.0, 0.0])] * 10
    assert calibrate(sure, [0] * 10).ece == 0
    assert calibrate(sure, [1] * 10).ece == 1
    assert calibrate(sure, [0] * 7 + [1] * 3).to_json()["bins"][0]["accuracy"] == pytest.approx(0.7)
    assert calibrate([], []).bins == ()
