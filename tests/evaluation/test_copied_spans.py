"""A copy is a long run of the row's own answer that the prompt does not hold."""

from hypothesis import given
from hypothesis import strategies as st

from medtune.evaluation.memorization.copied_spans import LONG_ANSWER, LONG_SPAN, copied_tokens, is_copied

IDS = st.lists(st.integers(0, 3), max_size=12)


def longest(one, other):
    spans = ((one[i:j]) for j in range(len(one), -1, -1) for i in range(j + 1))
    places = [span for span in spans if any(other[k : k + len(span)] == span for k in range(len(other) + 1))]
    return max(map(len, places), default=0)


@given(IDS, IDS)
def test_the_run_is_the_longest_that_both_answers_have(answer, generated):
    assert copied_tokens(answer, generated, []) == longest(answer, generated)


@given(IDS, IDS)
def test_what_the_prompt_holds_is_no_copy(answer, prompt):
    assert copied_tokens(answer, answer, prompt) == len(answer) - longest(answer, prompt)
    assert copied_tokens(answer, answer, [9, *answer, 9]) == 0


def test_fifty_tokens_are_a_copy_and_a_whole_answer_of_twenty_too():
    answer = list(range(100, 200))
    assert is_copied(answer, [1, *answer[20 : 20 + LONG_SPAN]], [])
    assert not is_copied(answer, [1, *answer[20 : 19 + LONG_SPAN]], [])
    assert not is_copied(answer, [1, *answer[20 : 20 + LONG_SPAN]], answer[30:60])
    short = answer[:LONG_ANSWER]
    assert is_copied(short, [*short, 7], [])
    assert not is_copied(short, [7, *short], [])
    assert not is_copied(short[1:], short[1:], [])
