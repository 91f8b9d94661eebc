"""Rows are drawn evenly by source, the same for the same seed, and none is on both sides."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.splits import HoldOut, draw_evenly, repeated, sample_by_source
from medtune.plugins.contracts import Example

SOURCES = st.lists(st.sampled_from("abcd"), max_size=300)


def examples_of(sources):
    return [Example([], source=source, row_id=f"r{i}") for i, source in enumerate(sources)]


@given(SOURCES, st.floats(0, 1), st.integers(0, 5))
def test_the_same_share_of_every_source_is_held_out(sources, fraction, seed):
    hold_out = HoldOut(fraction, seed)
    taken = Counter(s for s in sources if hold_out.takes(s))
    for source, count in Counter(sources).items():
        assert abs(taken[source] - count * fraction) <= 1


def test_shares_are_exact_over_whole_runs_and_spread_over_the_set():
    hold_out = HoldOut(0.1, seed=3)
    taken = [(source, hold_out.takes(source)) for _ in range(100) for source in ("a", "b", "b")]
    assert sum(t for s, t in taken if s == "a") == 10
    own = [t for s, t in taken if s == "b"]
    assert [sum(own[i : i + 10]) for i in range(0, 200, 10)] == [1] * 20


def test_all_or_nothing_can_be_held_out():
    assert all(HoldOut(1.0, 0).takes("a") for _ in range(10))
    assert not any(HoldOut(0.0, 0).takes("a") for _ in range(10))


def test_another_seed_holds_out_other_rows():
    def places(seed):
        hold_out = HoldOut(0.1, seed)
        return [i for i in range(100) if hold_out.takes("a")]

    assert places(1) == places(1) != places(2)
    assert len({b - a for a, b in zip(places(1), places(1)[1:], strict=False)}) > 1


def test_rows_of_one_document_are_held_out_together():
    hold_out = HoldOut(0.2, 0)
    taken = [(number // 3, hold_out.takes("a", f"document {number // 3}")) for number in range(300)]
    assert sum(t for _, t in taken) == 60
    assert all(len({t for d, t in taken if d == document}) == 1 for document in range(100))


def test_a_sample_does_not_depend_on_the_order_of_rows():
    examples = examples_of("ab" * 50)
    assert sample_by_source(examples, 7, 0) == sample_by_source(examples[::-1], 7, 0)
    assert sample_by_source(examples, 7, 0) != sample_by_source(examples, 7, 1)


@given(SOURCES, st.integers(1, 50), st.integers(0, 3))
def test_a_sample_has_as_many_rows_of_each_source_as_there_are_up_to_the_limit(sources, size, seed):
    drawn = sample_by_source(examples_of(sources), size, seed)
    assert Counter(e.source for e in drawn) == {s: min(n, size) for s, n in Counter(sources).items()}
    assert len({e.row_id for e in drawn}) == len(drawn)


def even_shares(available, total):
    """Deal one row after the other to the sources that still have some."""
    shares = Counter()
    while total and available.keys() - {s for s in available if shares[s] == available[s]}:
        for source in sorted(available):
            if total and shares[source] < available[source]:
                shares[source] += 1
                total -= 1
    return shares


@given(SOURCES, st.integers(1, 60), st.integers(0, 3))
def test_a_draw_is_as_even_as_dealing_rows_to_the_sources(sources, total, seed):
    drawn = draw_evenly(examples_of(sources), total, seed)
    expected = even_shares(Counter(sources), total)
    assert sorted(Counter(e.source for e in drawn).values()) == sorted(n for n in expected.values() if n)
    assert len({e.row_id for e in drawn}) == len(drawn) == min(total, len(sources))


def test_an_even_draw_does_not_depend_on_the_order_of_rows():
    examples = examples_of("a" * 5 + "b" * 200 + "c" * 100)
    mixed = random.Random(0).sample(examples, len(examples))
    assert draw_evenly(examples, 41, 7) == draw_evenly(mixed, 41, 7)


def test_a_whole_weight_takes_every_row_so_often_under_ids_of_their_own():
    taken = list(repeated(examples_of("aab"), 3, 0))
    assert [e.row_id for e in taken] == ["r0", "r0#2", "r0#3", "r1", "r1#2", "r1#3", "r2", "r2#2", "r2#3"]


@pytest.mark.parametrize("weight", [0.1, 0.5, 2.3])
def test_a_fractional_weight_draws_that_share_by_the_seed(weight):
    examples = examples_of("a" * 4000)
    taken = [e.row_id for e in repeated(examples, weight, 1)]
    assert len(taken) == pytest.approx(4000 * weight, rel=0.1)
    assert taken == [e.row_id for e in repeated(examples, weight, 1)]
    assert taken != [e.row_id for e in repeated(examples, weight, 2)]


def test_more_rows_never_change_which_of_the_others_a_weight_takes():
    few, more = (set(repeated_ids(examples_of("a" * n))) for n in (100, 300))
    assert few <= more
    assert few == {i for i in more if int(i[1:]) < 100}


def repeated_ids(examples):
    return [e.row_id for e in repeated(examples, 0.4, 0)]
