"""Membership figures: AUC as scikit-learn has it, intervals that hold, and nothing said where too few rows could say it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from medtune.evaluation.memorization.membership import Rows, attack_scores, judged, separation

SCORES = st.lists(st.integers(-9, 9), min_size=1, max_size=40)


def rows(scores, units=None):
    return Rows(np.asarray(scores, dtype=float), range(len(scores)) if units is None else units)


@given(SCORES, SCORES)
def test_auc_is_that_of_scikit_learn_ties_included(members, outsiders):
    known = roc_auc_score([1] * len(members) + [0] * len(outsiders), [*members, *outsiders])
    assert separation(rows(members), rows(outsiders), 0)["auc"] == pytest.approx(known)


def test_true_positives_are_those_at_one_false_one_of_a_hundred():
    rng = np.random.default_rng(0)
    members, outsiders = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    false, true, _at = roc_curve([1] * 300 + [0] * 200, [*members, *outsiders], drop_intermediate=False)
    found = separation(rows(members), rows(outsiders), 0)
    assert found["tpr"] == pytest.approx(true[false <= 0.01].max())
    assert found["tpr_interval"][0] <= found["tpr"] <= found["tpr_interval"][1]


def test_too_few_rows_give_no_interval_and_no_rate_at_one_in_a_hundred():
    found = separation(rows(range(9)), rows(range(99)), 0)
    assert found["interval"] is found["tpr"] is found["tpr_interval"] is None
    found = separation(rows(range(10)), rows(range(100)), 0)
    assert found["interval"] is not None
    assert found["tpr_interval"] is not None


def test_intervals_hold_one_half_where_both_sides_are_alike():
    rng = np.random.default_rng(3)
    holds = 0
    for seed in range(30):
        found = separation(rows(rng.normal(size=40)), rows(rng.normal(size=40)), seed)
        holds += judged(found)
    assert holds >= 25


def test_a_perfect_separation_is_not_certain_beyond_its_rows():
    found = separation(rows([1.0] * 20), rows([0.0] * 20), 0)
    assert found["auc"] == 1
    assert 0.7 < found["interval"][0] < 0.9
    assert found["interval"][1] == 1
    assert not judged(found)


def test_rows_of_one_document_are_drawn_together_which_widens_the_interval():
    rng = np.random.default_rng(4)
    members, outsiders = (np.repeat(rng.normal(shift, 1, 20), 10) for shift in (0.5, 0))
    apart = separation(rows(members), rows(outsiders), 0)["interval"]
    units = np.repeat(np.arange(20), 10).tolist()
    together = separation(rows(members, units), rows(outsiders, units), 0)["interval"]
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_a_model_that_is_its_base_tells_nothing():
    rng = np.random.default_rng(5)
    tokens = [rng.uniform(-5, 0, 8).tolist() for _ in range(40)]
    scores = [attack_scores(own, own)["reference"] for own in tokens]
    found = separation(rows(scores[:20]), rows(scores[20:]), 0)
    assert found["auc"] == 0.5
    assert judged(found)


def test_attacks_say_what_they_are_called():
    found = attack_scores([-1.0, -3.0, -2.0, -4.0, -5.0], [-2.0] * 5)
    assert found == {"reference": -1.0, "loss": -3.0, "min_k": -5.0, "base": -2.0}
