"""Confidence is judged as scikit-learn does, and the error above the threshold is what it is said to be."""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from medtune.evaluation.conformal import halves
from medtune.evaluation.selective import (
    Judged,
    _binomial_tail,
    auroc,
    brier,
    judge,
    least_answered,
    risk_coverage,
    trust_threshold,
)

WORLDS = {
    "calibrated": lambda x: (np.sqrt(x), 1 - np.sqrt(x)),
    "weak": lambda x: (x, 0.3 - 0.25 * x),
    "always at alpha": lambda x: (x, np.full(len(x), 0.1)),
    "just above alpha": lambda x: (x, np.full(len(x), 0.11)),
    "upside down": lambda x: (x, 0.05 + 0.2 * x),
    "good": lambda x: (x, np.full(len(x), 0.03)),
    "few values": lambda x: (np.floor(4 * x) / 4, 0.25 - 0.25 * x),
}
"""How sure answers are and how often wrong, from uniform numbers."""


def rows_of(rng, world, rows):
    confidence, risk = WORLDS[world](rng.random(rows))
    return Judged(confidence, (rng.random(rows) >= risk).astype(float), range(rows))


@pytest.mark.parametrize("cases", [300, pytest.param(20_000, marks=pytest.mark.proof)])
def test_ranking_and_brier_score_are_those_of_scikit_learn(cases):
    rng = np.random.default_rng(cases)
    for _ in range(cases):
        rows = int(rng.integers(2, 60))
        confidence = rng.random(rows) if rng.random() < 0.5 else rng.integers(0, 5, rows) / 4
        right = (rng.random(rows) < confidence).astype(float)
        assert brier(confidence, right) == pytest.approx(brier_score_loss(right, confidence, pos_label=1))
        if 0 < right.sum() < rows:
            assert auroc(confidence, right) == pytest.approx(roc_auc_score(right, confidence))
        else:
            assert auroc(confidence, right) is None


def test_the_curve_is_the_mean_over_all_orders_of_equally_sure_answers():
    rng = np.random.default_rng(0)
    for _ in range(40):
        rows = int(rng.integers(1, 6))
        confidence, right = rng.integers(0, 3, rows) / 2, rng.integers(0, 2, rows).astype(float)
        orders = [o for o in permutations(range(rows)) if (np.diff(confidence[list(o)]) <= 0).all()]
        answered = np.arange(1, rows + 1)
        expected = np.mean([np.cumsum(1 - right[list(o)]) / answered for o in orders], axis=0)
        coverage, risk = risk_coverage(confidence, right)
        assert coverage == pytest.approx(answered / rows)
        assert risk == pytest.approx(expected)


def test_the_area_is_small_where_the_surest_answers_are_right():
    right = np.array([1.0] * 80 + [0.0] * 20)
    known, unknown = np.linspace(1, 0, 100), np.linspace(0, 1, 100)
    areas = [float(risk_coverage(each, right)[1].mean()) for each in (known, unknown)]
    assert areas[0] < 0.03
    assert areas[1] > 0.5


def test_the_tail_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(300):
        trials = int(rng.integers(1, 3000))
        wrong, share = int(rng.integers(0, trials + 1)), float(rng.uniform(0.01, 0.6))
        assert _binomial_tail(wrong, trials, share) == pytest.approx(stats.binom.cdf(wrong, trials, share), abs=1e-9)


def kept(world, rows, splits, alpha=0.1, draw=rows_of):
    """Return in what share of splits the error is at most alpha: among all such answers, and among those judged."""
    rng = np.random.default_rng([rows, len(world)])
    everything = rows_of(np.random.default_rng(99), world, 200_000)
    truly = judged = 0
    for split in range(splits):
        drawn = draw(rng, world, rows)
        first, second = halves(drawn.units, split)
        calibration = Judged(drawn.confidence[first], drawn.right[first], [drawn.units[i] for i in first])
        threshold = trust_threshold(calibration, drawn.confidence[second], alpha)
        if threshold is None:
            truly, judged = truly + 1, judged + 1
            continue
        answered = drawn.confidence[second] >= threshold
        judged += (1 - drawn.right[second][answered]).mean() <= alpha
        truly += (1 - everything.right[everything.confidence >= threshold]).mean() <= alpha
    return truly / splits, judged / splits


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("rows", [60, 400])
def test_the_error_is_at_most_alpha_in_95_percent_of_200_splits(world, rows):
    truly, judged = kept(world, rows, 200)
    assert judged >= 0.95
    assert truly >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / 200)  # the chance is at least 95 %; of 200, a little less


@pytest.mark.proof
@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("world", WORLDS)
def test_the_error_is_at_most_alpha_in_95_percent_of_2000_splits(world, alpha):
    for rows in (60, 120, 400, 2000):
        truly, judged = kept(world, rows, 2000, alpha)
        print(world, alpha, rows, f"{100 * truly:.1f}", f"{100 * judged:.1f}", sep=" | ")
        assert truly >= 0.94
        assert judged >= 0.95


def in_documents(rng, world, rows):
    """Rows of documents of 1 to 9, whose rows are right together: an intraclass correlation of 0.3."""
    sizes = rng.integers(1, 10, rows // 5)
    units = np.repeat(np.arange(len(sizes)), sizes)
    confidence, risk = WORLDS[world](rng.random(len(units)))
    spread = 0.7 / 0.3
    mean = float(risk.mean())
    of_document = rng.beta(mean * spread, (1 - mean) * spread, len(sizes))[units] / mean
    return Judged(confidence, (rng.random(len(units)) >= risk * of_document).astype(float), units.tolist())


@pytest.mark.proof
@pytest.mark.parametrize("world", ["always at alpha", "just above alpha", "weak"])
def test_rows_of_documents_keep_the_chance_nearly(world):
    for rows in (300, 1000):
        truly, judged = kept(world, rows, 2000, draw=in_documents)
        print(world, rows, f"{100 * truly:.1f}", f"{100 * judged:.1f}", sep=" | ")
        assert truly >= 0.93


def test_rows_of_few_documents_show_less_than_as_many_rows():
    right, confidence = np.ones(400), np.linspace(0.5, 1, 400)
    assert judge(Judged(confidence, right, range(400)), 0.1)["abstention"]["answered"] == 1
    few = judge(Judged(confidence, right, [i // 10 for i in range(400)]), 0.1)["abstention"]
    assert few["threshold"] is None  # twenty documents to calibrate on
    assert few["reason"].startswith("too few documents: 20 to calibrate on")
    wrong = judge(Judged(confidence, right * 0, range(400)), 0.1)["abstention"]
    assert wrong["reason"] == "no confidence shows an error of at most 0.1 on these rows"


def test_what_is_known_of_answers_is_told_as_json_values():
    found = judge(rows_of(np.random.default_rng(1), "calibrated", 400), 0.3)
    assert found["rows"] == 400
    assert found["abstention"]["error"] <= 0.3
    assert 0 < found["abstention"]["answered"] < 1
    assert (found["abstention"]["calibrated_on"], found["abstention"]["judged_on"]) == (200, 200)
    assert found["ece"] < 0.1
    assert found["auroc"] > 0.65
    assert sum(each["rows"] for each in found["bins"]) == 400
    points = found["risk_coverage"]["points"]
    assert len(points) == 40
    assert points[-1] == [1, pytest.approx(1 - found["right"], abs=1e-4)]


def test_too_few_rows_give_no_threshold_and_say_so():
    right = Judged(np.linspace(0.5, 1, 56), np.ones(56), range(56))
    told = judge(right, 0.1)["abstention"]
    assert (told["threshold"], told["answered"], told["error"]) == (None, 0, None)
    assert told["reason"] == "too few rows: 28 to calibrate on of the 29 that an error of at most 0.1 needs"
    assert [least_answered(alpha) for alpha in (0.05, 0.1, 0.2)] == [59, 29, 14]
    enough = judge(Judged(np.linspace(0.5, 1, 58), np.ones(58), range(58)), 0.1)["abstention"]
    assert (enough["answered"], enough["error"], enough["reason"]) == (1, 0, "")
    confidence = np.random.default_rng(2).random(58)  # the surest 29 of one half are not those of the other
    barely = judge(Judged(confidence, np.ones(58), range(58)), 0.1)["abstention"]
    assert (barely["threshold"], barely["reason"].split(" to ")[0]) == (None, "too few rows: 29")


def test_no_rows_are_judged_without_an_error():
    found = judge(Judged(np.zeros(0), np.zeros(0), []), 0.1)
    assert (found["rows"], found["auroc"], found["brier"], found["risk_coverage"]["area"]) == (0, None, None, None)
