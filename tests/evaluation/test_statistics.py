"""Intervals and tests agree with slow, plain implementations."""

import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.statistics import Sampling, bootstrap_intervals, holm, paired_difference, sum_by_unit, summarise
from medtune.evaluation.tally import Tally, f1
from medtune.evaluation.tasks import ClassificationTask, NerTask, NliTask, QaTask, RelationTask


def f1_of(sums):
    return {"f1": f1(sums[..., 0], sums[..., 1], sums[..., 2])}


def random_counts(rng, rows):
    gold = rng.integers(0, 4, rows)
    predicted = rng.integers(0, 4, rows)
    return np.stack([np.minimum(gold, predicted) * (rng.random(rows) < 0.7), predicted, gold], axis=1).astype(float)


def plain_bootstrap(counts, resamples, seed):
    """Draw rows with replacement one by one, with another generator, and score each resample by itself."""
    rng, rows = random.Random(seed), counts.tolist()
    values = []
    for _ in range(resamples):
        drawn = [rng.choice(rows) for _ in rows]
        correct, predicted, gold = (sum(row[i] for row in drawn) for i in range(3))
        values.append(2 * correct / (predicted + gold))
    values.sort()
    return values[int(0.025 * resamples)], values[int(0.975 * resamples)]


def test_intervals_agree_with_a_plain_bootstrap():
    counts = random_counts(np.random.default_rng(0), 120)
    low, high = bootstrap_intervals(counts, f1_of, Sampling(resamples=4000, seed=1))["f1"]
    plain_low, plain_high = plain_bootstrap(counts, 2000, seed=2)
    width = plain_high - plain_low
    # The standard error of a 2.5 % quantile of 2,000 normal draws is 6 % of a standard deviation, 1.6 % of the width.
    assert abs(low - plain_low) < 0.07 * width
    assert abs(high - plain_high) < 0.07 * width


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(4), 0
    for trial in range(300):
        right = (rng.random(150) < 0.7).astype(float)
        counts = np.stack([right, np.ones(150)], axis=1)
        low, high = bootstrap_intervals(
            counts, lambda sums: {"accuracy": sums[..., 0] / sums[..., 1]}, Sampling(resamples=300, seed=trial)
        )["accuracy"]
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.98


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_an_interval_holds_its_figure(seed, rows):
    counts = random_counts(np.random.default_rng(seed), rows) + np.array([0, 1, 1])
    low, high = bootstrap_intervals(counts, f1_of, Sampling(resamples=400, seed=seed))["f1"]
    each = f1_of(counts)["f1"]
    assert each.min() - 1e-12 <= low <= high <= each.max() + 1e-12


def test_rows_of_one_document_are_drawn_together():
    right = np.repeat([1.0, 0.0] * 10, 10)  # 20 documents of ten equal rows
    counts = np.stack([right, np.ones(200)], axis=1)
    tally = Tally("accuracy", counts, lambda s: {"accuracy": s[..., 0] / s[..., 1]}, frozenset(), lambda _rows: {})
    documents = [i // 10 for i in range(200)]
    by_row = summarise(tally, sampling=Sampling()).intervals["accuracy"]
    by_document = summarise(tally, units=documents, sampling=Sampling()).intervals["accuracy"]
    assert by_document[1] - by_document[0] == pytest.approx((by_row[1] - by_row[0]) * 10**0.5, rel=0.15)


def test_counts_of_a_unit_are_added_up():
    counts = np.arange(8.0).reshape(4, 2)
    assert sum_by_unit(counts, ["a", "b", "a", "b"]).tolist() == [[4, 6], [8, 10]]


@pytest.mark.parametrize(
    ("task", "texts"),
    [
        (NerTask(), ["a : B\nb : I", "a : B\nb : O", "a : O\nb : O\nc : B", ""]),
        (NliTask(), ["Neutral", "Entailment", "Contradiction", "dunno"]),
        (RelationTask(), ["TrAP", "PIP", "No Relations", "dunno"]),
        (ClassificationTask(), ["None", "Inducing angiogenesis (A)", "Resisting cell death (CD)", "dunno"]),
        (QaTask(), ["###Answer: yes", "###Answer: OPTION D IS CORRECT.", "drink tea", "rest"]),
    ],
)
def test_figures_of_many_sums_at_once_are_those_of_each(task, texts, predict_of):
    golds = [text for text in texts if text not in ("", "dunno")]
    tally = task.tally([predict_of(text, gold, truncated=gold == text) for text in texts for gold in golds])
    sums = tally.counts[np.random.default_rng(0).integers(0, len(tally.counts), (6, 5))].sum(axis=1)
    together, each = tally.figures(sums), [tally.figures(row) for row in sums]
    for name, values in together.items():
        assert values == pytest.approx(np.array([one[name] for one in each]), nan_ok=True)


def test_a_figure_about_none_of_the_rows_is_left_out(predict_of):
    tally = QaTask().tally([predict_of("yes", "###Answer: yes"), predict_of("tea", "drink tea")])
    assert "rouge_l" not in summarise(tally, [0], sampling=Sampling()).metrics
    assert summarise(tally, [1], sampling=Sampling()).primary == "rouge_l"


def every_exchange(base, tuned, figure):
    """Return the exact p value over all ways to exchange the systems row by row."""
    observed = abs(figure(tuned.sum(0)) - figure(base.sum(0)))
    as_large = 0
    for signs in product((False, True), repeat=len(base)):
        swap = np.array(signs)[:, None]
        one, other = np.where(swap, tuned, base).sum(0), np.where(swap, base, tuned).sum(0)
        as_large += abs(figure(other) - figure(one)) >= observed - 1e-12
    return as_large / 2 ** len(base)


def test_the_paired_test_agrees_with_all_exchanges():
    rng = np.random.default_rng(3)
    for _ in range(4):
        base, tuned = (random_counts(rng, 10) + np.array([0, 1, 1]) for _ in range(2))
        tuned[:, 2] = base[:, 2]
        exact = every_exchange(base, tuned, lambda sums: f1_of(sums)["f1"])
        found = paired_difference(base, tuned, f1_of, "f1", Sampling(resamples=10, permutations=20_000))
        assert found.p_value == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)


def test_a_p_value_is_never_below_one_chance_among_the_exchanges_and_the_observed_order():
    """The order that was observed counts as one of those drawn; else a test of few exchanges would say 0."""
    wrong, right = (np.stack([np.full(60, value), np.ones(60)], axis=1) for value in (0.0, 1.0))
    found = paired_difference(
        wrong, right, lambda s: {"a": s[..., 0] / s[..., 1]}, "a", Sampling(resamples=10, permutations=99)
    )
    assert (found.value, found.p_value) == (1, 1 / 100)


def test_equal_systems_differ_by_nothing():
    counts = random_counts(np.random.default_rng(0), 30)
    found = paired_difference(counts, counts, f1_of, "f1", Sampling())
    assert (found.value, found.interval, found.p_value) == (0, (0, 0), 1)


def test_the_difference_interval_is_paired():
    """Two systems with the same mistakes but one differ surely, though their own intervals overlap widely."""
    right = np.array([1.0, 0.0] * 50)
    better = right.copy()
    better[1::10] = 1
    base, tuned = (np.stack([values, np.ones(100)], axis=1) for values in (right, better))
    found = paired_difference(base, tuned, lambda s: {"a": s[..., 0] / s[..., 1]}, "a", Sampling())
    assert found.value == pytest.approx(0.1)
    assert found.interval[0] > 0.03
    assert found.p_value < 0.01


def test_the_same_seed_gives_the_same_figures():
    counts = np.random.default_rng(0).random((200, 2))
    one, two, other = (bootstrap_intervals(counts, lambda s: {"a": s[..., 0]}, Sampling(seed=n)) for n in (1, 1, 2))
    assert one == two
    assert one != other


def test_p_values_are_adjusted_by_holm():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1, "b": 1}
    assert holm({}) == {}


@pytest.mark.parametrize("task", [NerTask(), NliTask(), QaTask()])
def test_no_rows_give_no_figures_but_no_error_either(task):
    score = summarise(task.tally([]), sampling=Sampling())
    assert score.rows == 0
    assert all(value == 0 for value in score.metrics.values())
