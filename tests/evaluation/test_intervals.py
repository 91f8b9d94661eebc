"""Intervals hold what they say: simulated, and against scipy."""

import math
import os

import numpy as np
import pytest
from scipy import stats

from medtune.evaluation.intervals import (
    LEAST_UNITS,
    difference_interval,
    difference_of_shares,
    estimate,
    points_that_show,
    t_quantile,
    wilson,
)
from medtune.evaluation.tally import f1, ratio

SIZES = (5, 10, 20, 30, 50, 200)
SHARES = (0.5, 0.9, 0.97)


def share_of(sums):
    return {"figure": ratio(sums[..., 0], sums[..., 1])}


def f1_of(sums):
    return {"figure": f1(sums[..., 0], sums[..., 1], sums[..., 2])}


def right_rows(rng, n, p):
    return np.stack([(rng.random(n) < p).astype(float), np.ones(n)], axis=1)


def right_documents(rng, n, p):
    """Documents of 1 to 9 rows, whose rows are right together: an intraclass correlation of 0.3."""
    rows, spread = rng.integers(1, 10, n), 0.7 / 0.3
    return np.stack([rng.binomial(rows, rng.beta(p * spread, (1 - p) * spread, n)), rows], axis=1).astype(float)


def spans(rng, n, p, mean, spread):
    """Gold spans of a row or document, each found with chance p; as many are predicted wrongly as are missed."""
    gold = rng.poisson(mean, n)
    correct = rng.binomial(gold, rng.beta(p * spread, (1 - p) * spread, n))
    missed = gold - correct
    wrong = rng.binomial(missed, 0.5) + rng.binomial(missed, 0.5)
    return np.stack([correct, correct + wrong, gold], axis=1).astype(float)


PRIORS = np.array([0.6, 0.3, 0.1])
"""How often each of three labels is right."""


def labelled(rng, n, p):
    """Rows of one of three labels, named rightly with chance p, else as any other: right, said and gold by label."""
    gold = rng.choice(3, n, p=PRIORS)
    said = np.where(rng.random(n) < p, gold, (gold + rng.integers(1, 3, n)) % 3)
    told = [np.eye(3)[gold] * (gold == said)[:, None], np.eye(3)[said], np.eye(3)[gold]]
    return np.concatenate(told, axis=1)


def macro_f1_of(sums):
    """Mean F1 of the labels that occur in gold answers, as tasks have it."""
    right, said, gold = (sums[..., 3 * i : 3 * i + 3] for i in range(3))
    occurs = gold > 0
    return {"figure": ratio((np.nan_to_num(f1(right, said, gold)) * occurs).sum(-1), occurs.sum(-1))}


def true_macro_f1(p):
    said = PRIORS * p + (1 - PRIORS) * (1 - p) / 2
    return float(np.mean(2 * PRIORS * p / (said + PRIORS)))


def overlaps(rng, n, p):
    """Rows with an overlap between 0 and 1 of mean p, a tenth of them none at all, or all of it."""
    whole = rng.random(n) < 0.1
    values = np.where(whole, rng.random(n) < p, rng.beta(4 * p, 4 * (1 - p), n))
    return np.stack([values, np.ones(n)], axis=1)


DRAWS = {
    "accuracy by rows": (share_of, right_rows),
    "accuracy by documents": (share_of, right_documents),
    "span F1 by rows": (f1_of, lambda rng, n, p: spans(rng, n, p, 2.5, 4.0)),
    "span F1 by documents": (f1_of, lambda rng, n, p: spans(rng, n, p, 10.0, 4.0)),
    "macro F1 by rows": (macro_f1_of, labelled),
    "ROUGE-L by rows": (share_of, overlaps),
}


def truth_of(name, p):
    return true_macro_f1(p) if name == "macro F1 by rows" else p


def coverage(name, n, p, trials, seed=0, interval_of=None):
    """Return how often the interval holds the truth, of the trials that have one, and how many these are."""
    (figures, draw), truth = DRAWS[name], truth_of(name, p)
    rng, held, given = np.random.default_rng([seed, n, int(1000 * p)]), 0, 0
    for _ in range(trials):
        counts = draw(rng, n, p)
        interval = estimate(counts, figures).intervals.get("figure")
        if interval is not None:
            given += 1
            interval = interval if interval_of is None else interval_of(counts, figures, rng)
            held += interval[0] - 1e-9 <= truth <= interval[1] + 1e-9
    return held / given if given else math.nan, given


@pytest.mark.parametrize("name", DRAWS)
def test_an_interval_covers_the_truth_nearly_as_often_as_it_says(name):
    for n, p in ((10, 0.97), (20, 0.9), (50, 0.97)):
        covered, given = coverage(name, n, p, 150)
        assert given < 20 or covered >= 0.89, (n, p, covered)  # 92 % less two and a half errors of 150 trials


@pytest.mark.proof
@pytest.mark.parametrize("name", DRAWS)
def test_coverage_is_at_least_92_percent_from_ten_rows_on(name):
    trials = int(os.environ.get("MEDTUNE_TRIALS", "4000"))
    for p in SHARES:
        cells = [coverage(name, n, p, trials) for n in SIZES]
        print(name, p, *("too few" if math.isnan(c) else f"{100 * c:.1f}" for c, _ in cells), sep=" | ")
        assert math.isnan(cells[0][0])
        assert all(c >= 0.92 for c, _ in cells[1:])


@pytest.mark.proof
def test_paired_differences_cover_the_truth_too():
    for n, p in ((n, p) for n in SIZES[1:] for p in SHARES):
        rng, held, trials = np.random.default_rng([n, int(1000 * p)]), 0, 3000
        for _ in range(trials):
            base = right_rows(rng, n, p)
            tuned = base.copy()
            again = rng.random(n) < 0.3
            tuned[again, 0] = rng.random(int(again.sum())) < max(p - 0.2, 0)
            truth = 0.3 * (max(p - 0.2, 0) - p)
            low, high = difference_interval(base, tuned, share_of, "figure")
            held += low <= truth <= high
        print("difference", n, p, f"{100 * held / trials:.1f}", sep=" | ")
        assert held / trials >= 0.92


def test_five_right_of_five_are_too_few_for_an_interval():
    found = estimate(right_rows(np.random.default_rng(0), 5, 1.0), share_of)
    assert (found.intervals, found.units) == ({}, {"figure": 5})


def test_rows_without_anything_to_find_are_no_evidence():
    counts = np.zeros((40, 3))
    counts[:9] = 1
    assert estimate(counts, f1_of).units["figure"] == 9 < LEAST_UNITS
    counts[9] = 1
    assert estimate(counts, f1_of).intervals["figure"][0] < 0.75


def test_a_single_mistake_among_many_spans_of_few_rows_is_no_proof_of_a_small_error():
    counts = np.full((12, 3), 40.0)
    counts[0, 0] = 39
    low, _high = estimate(counts, f1_of).intervals["figure"]
    assert low < 0.95  # twelve rows, not 480 spans


def agree_with_scipy(cases, seed):
    rng = np.random.default_rng(seed)
    for _ in range(cases):
        n = int(rng.integers(10, 400))
        right = int(rng.integers(0, n + 1))
        counts = np.stack([np.arange(n) < right, np.ones(n)], axis=1).astype(float)
        expected = stats.binomtest(right, n).proportion_ci(method="wilson")
        found = estimate(counts, share_of).intervals["figure"]
        assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert wilson(right / n, n) == pytest.approx(found, abs=1e-12)


def test_shares_have_the_interval_that_scipy_gives():
    agree_with_scipy(100, 0)


@pytest.mark.proof
def test_shares_have_the_interval_that_scipy_gives_in_20000_cases():
    agree_with_scipy(20_000, 1)


def test_quantiles_of_t_are_those_of_scipy():
    for degrees in (8, 9, 10, 15, 30, 100, 1000):
        assert t_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=1e-3)


def test_what_a_sample_can_show_is_half_the_width_of_its_interval():
    assert [round(points_that_show(n)) for n in (50, 200, 1000)] == [13, 6, 3]


def test_an_interval_holds_its_figure_and_stays_between_0_and_1():
    rng = np.random.default_rng(3)
    for _ in range(200):
        counts = spans(rng, int(rng.integers(12, 60)), float(rng.uniform(0.05, 0.99)), 4.0, 3.0)
        for name, (low, high) in estimate(counts, f1_of).intervals.items():
            assert 0 <= low <= f1_of(counts.sum(axis=0))[name] <= high <= 1


def test_two_systems_with_the_same_few_answers_are_not_surely_the_same():
    counts = right_rows(np.random.default_rng(0), 20, 0.9)
    low, high = difference_interval(counts, counts, share_of, "figure")
    assert low < -0.05 < 0.05 < high
    assert difference_interval(counts[:9], counts[:9], share_of, "figure") is None


@pytest.mark.parametrize(
    ("counts", "known"),
    [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((10, 10, 0, 20), (0.6791, 1.0))],
)
def test_the_difference_of_two_shares_has_the_interval_of_newcombe_s_table(counts, known):
    assert difference_of_shares(*counts) == pytest.approx(known, abs=5e-5)
    low, high = difference_of_shares(*counts[2:], *counts[:2])
    assert (low, high) == pytest.approx((-known[1], -known[0]), abs=5e-5)
    assert difference_of_shares(0, 0, 1, 2) is None
