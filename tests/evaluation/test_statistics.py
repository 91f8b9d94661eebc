"""Intervals and tests agree with slow, plain implementations."""

from itertools import product

import numpy as np
import pytest

from medtune.evaluation.statistics import Sampling, holm, paired_difference, sum_by_unit, summarise
from medtune.evaluation.tally import Tally, f1
from medtune.evaluation.tasks import ClassificationTask, NerTask, NliTask, QaTask, RelationTask


def f1_of(sums):
    return {"f1": f1(sums[..., 0], sums[..., 1], sums[..., 2])}


def random_counts(rng, rows):
    gold = rng.integers(0, 4, rows)
    predicted = rng.integers(0, 4, rows)
    return np.stack([np.minimum(gold, predicted) * (rng.random(rows) < 0.7), predicted, gold], axis=1).astype(float)


def test_rows_of_one_document_vary_together():
    right = np.repeat([1.0, 0.0] * 10, 10)  # 20 documents of ten equal rows
    counts = np.stack([right, np.ones(200)], axis=1)
    tally = Tally("accuracy", counts, lambda s: {"accuracy": s[..., 0] / s[..., 1]}, frozenset(), lambda _rows: {})
    documents = [i // 10 for i in range(200)]
    by_row = summarise(tally, intervals=True).intervals["accuracy"]
    by_document = summarise(tally, units=documents, intervals=True).intervals["accuracy"]
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
    assert "rouge_l" not in summarise(tally, [0]).metrics
    assert summarise(tally, [1]).primary == "rouge_l"


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
        found = paired_difference(base, tuned, f1_of, "f1", Sampling(permutations=20_000))
        assert found.p_value == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5 + 1e-4)


def test_a_p_value_is_never_below_one_chance_among_the_exchanges_and_the_observed_order():
    """The order that was observed counts as one of those drawn; else a test of few exchanges would say 0."""
    wrong, right = (np.stack([np.full(60, value), np.ones(60)], axis=1) for value in (0.0, 1.0))
    found = paired_difference(wrong, right, lambda s: {"a": s[..., 0] / s[..., 1]}, "a", Sampling(permutations=99))
    assert (found.value, found.p_value) == (1, 1 / 100)


def test_equal_systems_differ_by_nothing():
    counts = random_counts(np.random.default_rng(0), 30)
    found = paired_difference(counts, counts, f1_of, "f1", Sampling())
    assert (found.value, found.p_value) == (0, 1)
    assert found.interval[0] == -found.interval[1] < 0  # thirty rows do not show that they are the same


def test_an_exchange_that_leaves_nothing_to_find_speaks_for_no_difference():
    """One row has something to find for the tuned system only: half of the exchanges leave the base with nothing."""
    base, tuned = np.zeros((12, 3)), np.zeros((12, 3))
    base[0], tuned[1] = (0, 1, 0), (1, 1, 0)
    found = paired_difference(base, tuned, f1_of, "f1", Sampling(permutations=999))
    assert found.p_value > 0.9


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


def test_the_same_seed_gives_the_same_p_value():
    rng = np.random.default_rng(0)
    base, tuned = (np.stack([rng.random(200) < 0.6, np.ones(200)], axis=1).astype(float) for _ in range(2))
    one, two, other = (
        paired_difference(base, tuned, lambda s: {"a": s[..., 0] / s[..., 1]}, "a", Sampling(seed=n)) for n in (1, 1, 2)
    )
    assert one == two
    assert one.interval == other.interval
    assert one.p_value != other.p_value


def test_p_values_are_adjusted_by_holm():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1, "b": 1}
    assert holm({}) == {}


@pytest.mark.parametrize("task", [NerTask(), NliTask(), QaTask()])
def test_no_rows_give_no_figures_but_no_error_either(task):
    score = summarise(task.tally([]), intervals=True)
    assert (score.rows, score.metrics, score.intervals) == (0, {}, {})
    assert score.primary in score.undefined
