"""Rows filled one after the other hold every sample once, leave no room that a sample would fill, and little else."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.fitting import fill_rows
from medtune.data.pack import _decreasing, best_fit

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=200)


@given(LENGTHS)
def test_every_length_is_used_as_often_as_it_occurs_and_no_row_is_overfull(lengths):
    used = Counter()
    for filling in fill_rows(lengths, 64):
        assert sum(filling.lengths) <= 64
        used += Counter({length: n * filling.times for length, n in Counter(filling.lengths).items()})
    assert used == Counter(lengths)


@given(LENGTHS)
def test_no_sample_of_a_later_row_would_have_fitted_an_earlier_one(lengths):
    shortest_later = None
    for row in (filling.lengths for filling in reversed(fill_rows(lengths, 64))):
        if shortest_later is not None:
            assert sum(row) + shortest_later > 64
        shortest_later = min([*row, *([] if shortest_later is None else [shortest_later])])


def test_two_samples_are_preferred_where_the_longest_would_leave_a_gap():
    rows = [sorted(filling.lengths) for filling in fill_rows([300, 150, 62, 160, 160, 160, 30], 512)]
    assert [62, 150, 300] in rows


def test_lengths_about_half_a_row_are_packed_fuller_than_by_best_fit_alone():
    draw = np.random.default_rng(0)
    lengths = np.concatenate([draw.normal(240, 70, 15_000), draw.lognormal(4.6, 0.4, 8_000)])
    lengths = np.clip(lengths, 20, 512).astype(int).tolist()
    rows = best_fit(lengths, 512, 0)
    alone = _decreasing(np.argsort(lengths)[::-1].tolist(), lengths, 512)
    assert sum(lengths) / (512 * len(rows)) > 0.998 > sum(lengths) / (512 * len(alone))
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
