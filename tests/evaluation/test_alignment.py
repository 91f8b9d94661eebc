"""The alignment is a longest common subsequence, in order, with the earliest generated tokens."""

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.evaluation.alignment import align, common_length

tokens = st.lists(st.sampled_from("abcd"), max_size=9)


def by_dynamic_programming(first, second):
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def earliest_of_the_longest(generated, given_tokens):
    """Try subsets of generated tokens, largest first, in the order that prefers early ones."""
    for size in range(len(generated), -1, -1):
        for chosen in combinations(range(len(generated)), size):
            j, places = 0, []
            for i in chosen:
                while j < len(given_tokens) and given_tokens[j] != generated[i]:
                    j += 1
                if j == len(given_tokens):
                    break
                places.append(j)
                j += 1
            if len(places) == size:
                return [dict(zip(chosen, places, strict=True)).get(i) for i in range(len(generated))]
    raise AssertionError


@given(tokens, tokens)
def test_the_length_is_that_of_dynamic_programming(first, second):
    assert common_length(first, second) == by_dynamic_programming(first, second)


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
@settings(max_examples=300)
def test_the_alignment_is_the_earliest_of_the_longest(generated, given_tokens):
    assert align(generated, given_tokens) == earliest_of_the_longest(generated, given_tokens)


@given(tokens, tokens)
def test_places_increase_and_join_equal_tokens(generated, given_tokens):
    pairs = [(i, j) for i, j in enumerate(align(generated, given_tokens)) if j is not None]
    assert all(generated[i] == given_tokens[j] for i, j in pairs)
    assert all(a[1] < b[1] for a, b in pairwise(pairs))
    assert len(pairs) == by_dynamic_programming(generated, given_tokens)


def test_long_sequences_cross_the_machine_word():
    given_tokens = [str(i % 7) for i in range(500)]
    generated = [token for i, token in enumerate(given_tokens) if i % 3] + ["x"] * 300
    assert sum(place is not None for place in align(generated, given_tokens)) == common_length(generated, given_tokens)
    assert common_length(generated, given_tokens) == by_dynamic_programming(generated, given_tokens)
