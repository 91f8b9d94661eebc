"""Common prefixes of prompts: valid, and the best there are."""

import random

import pytest

from medtune.data import prefixes
from medtune.data.prefixes import shared_prefixes


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(prefixes, "_SHORTEST", 1)


def best_saving(prompts):
    """Return the most tokens that prefixes save which serve all prompts that have them, by trying all choices."""
    prefixes = {tuple(p[:n]) for p in prompts for n in range(1, len(p))}
    worth = {b: len(b) * (sum(tuple(p[: len(b)]) == b and len(p) > len(b) for p in prompts) - 1) for b in prefixes}

    def best(under):
        inside = [b for b in worth if len(b) == len(under) + 1 and b[:-1] == under]
        return max(worth.get(under, 0), sum(map(best, inside)))

    return best(())


def test_the_prefixes_found_are_valid_and_save_at_least_as_much_as_any_that_serve_all_who_have_them(short):
    draw = random.Random(0)
    for _ in range(150):
        prompts = {n: [draw.randrange(2) for _ in range(draw.randint(1, 6))] for n in range(draw.randint(1, 6))}
        found = shared_prefixes(prompts, 10**6)
        keys = [key for prefix in found for key in prefix.keys]
        assert len(keys) == len(set(keys))
        for prefix in found:
            assert len(prefix.keys) > 1
            for key in prefix.keys:
                assert tuple(prompts[key][: len(prefix.ids)]) == prefix.ids
                assert len(prompts[key]) > len(prefix.ids)
        assert sum(p.saved for p in found) >= best_saving(list(prompts.values())), prompts


def test_a_longer_prefix_of_fewer_prompts_wins_where_it_saves_more():
    shared, longer = list(range(20)), list(range(100))
    prompts = {0: [*shared, 500], 1: [*shared, 501], **{n: [*longer, 600 + n] for n in range(2, 6)}}
    (first, second) = shared_prefixes(prompts, 1000)
    assert (len(first.ids), set(first.keys)) == (100, {2, 3, 4, 5})
    assert (len(second.ids), set(second.keys)) == (20, {0, 1})


def test_short_prefixes_and_those_without_room_are_left_out():
    prompts = {n: [*range(15), 100 + n] for n in range(9)}
    assert shared_prefixes(prompts, 1000) == []
    prompts = {n: [*range(50), 100 + n] for n in range(9)} | {n: [*range(60, 80), 100 + n] for n in range(9, 12)}
    assert [len(p.ids) for p in shared_prefixes(prompts, 49)] == [20]
    assert [len(p.ids) for p in shared_prefixes(prompts, 70)] == [50, 20]


def test_no_prompts_share_nothing():
    assert shared_prefixes({}, 100) == []
    assert shared_prefixes({3: [1] * 40}, 100) == []
