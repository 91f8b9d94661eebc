"""Rows that stand in training and evaluation are found, and paraphrase that many rows share is not taken for them."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.data.overlap import OverlapFinder, Pair
from medtune.plugins.contracts import Example

GRAM = 13


def example(question, answer="yes", row_id="r", source="s"):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Example(messages, source=source, row_id=row_id)


def ids_of(text):
    """Return an id per word, the same for the same word."""
    return np.array([sum(ord(c) * 31**i for i, c in enumerate(word)) % 30_000 for word in text.split()], dtype=np.int32)


def kinds(evaluation, training):
    """Return the finder and the kind found of each training question."""
    examples = [example(text, row_id=f"e{i}") for i, text in enumerate(evaluation)]
    finder = OverlapFinder(examples, [ids_of(text) for text in evaluation])
    found = finder.find([example(text) for text in training], [ids_of(text) for text in training])
    return finder, found


def words(count, seed):
    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(5000)}" for _ in range(count))


def test_the_same_text_is_exact():
    finder, found = kinds([words(20, 1)], [words(20, 1), words(20, 2)])
    assert found == ["exact", None]
    assert finder.settle().evaluation_rows == ["e0"]
    assert finder.settle().counts == {"s": {"exact": 1}}


def test_case_spaces_and_marks_make_no_difference():
    _, found = kinds(["Is aspirin, a drug ?"], ["is  Aspirin a DRUG", "is aspirin a drag"])
    assert found == ["normalised", None]


def test_marks_and_forms_of_letters_beyond_ascii_make_no_difference():
    _, found = kinds(["Café \u2013 naïve\u00a0question…"], ["cafe\u0301 naïve question", "cafe naive question"])
    assert found == ["normalised", None]


def test_another_answer_to_the_same_question_is_overlap():
    finder = OverlapFinder([example("Is it?", "yes", "e")], [ids_of("Is it?")])
    assert finder.find([example("Is it?", "no")], [ids_of("Is it?")]) == ["normalised"]


def test_a_row_with_something_before_and_after_is_a_near_duplicate():
    text = words(60, 1)
    _, found = kinds([text, words(60, 2)], [f"today {text} again", words(60, 3)])
    assert found == ["near", None]


def test_less_than_half_of_a_row_is_no_duplicate():
    text = words(60, 1).split()
    _, found = kinds([" ".join(text)], [" ".join(text[:50]), " ".join(text[:30])])
    assert found == ["near", None]


def test_every_evaluation_row_that_is_near_is_named_the_nearest_first():
    text = words(60, 1).split()
    half, other = " ".join(text[:40]) + " " + words(20, 2), words(60, 3)
    finder, found = kinds([half, " ".join(text), other], [" ".join(text) + " more"])
    assert found == ["near"]
    assert finder.settle().evaluation_rows == ["e0", "e1"]
    assert finder.settle().pairs == [Pair("e0", "r", "near", True), Pair("e1", "r", "near", True)]


def test_an_instruction_that_many_evaluation_rows_share_is_not_overlap():
    instruction = words(60, 0)
    evaluation = [f"{instruction} {words(20, i)}" for i in range(5)]
    _, found = kinds(evaluation, [f"{instruction} {words(20, i)}" for i in range(100, 110)])
    assert found == [None] * 10


def test_an_instruction_of_the_only_evaluation_row_is_learned_to_be_paraphrase_from_the_training_rows():
    instruction = words(60, 0)
    copied = f"{instruction} {words(30, 1)}"
    _, found = kinds([copied], [f"{instruction} {words(30, i)}" for i in range(100, 160)] + [f"so {copied}"])
    assert found == [None] * 60 + ["near"]


def test_rows_do_not_run_into_each_other():
    text = words(40, 1).split()
    _, found = kinds([" ".join(text)], [" ".join(text[:20]), " ".join(text[20:])])
    assert found == [None, None]


def test_nothing_is_found_without_evaluation_rows_or_in_short_ones():
    assert OverlapFinder([], []).find([example("x")], [ids_of("x")]) == [None]
    _, found = kinds(["short"], ["another", "and another"])
    assert found == [None, None]
    assert OverlapFinder([example("x")], [ids_of("x")]).find([], []) == []


def grams(ids):
    return {tuple(ids[i : i + GRAM]) for i in range(len(ids) - GRAM + 1)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_near_duplicates_are_those_that_counting_finds(data):
    """Compare with sets of tuples; pieces of a common store make rows that share runs."""
    store = st.lists(st.integers(0, 2**17), min_size=5, max_size=30)
    pieces = data.draw(st.lists(store, min_size=2, max_size=4))
    row = st.lists(st.sampled_from(pieces), min_size=1, max_size=3).map(lambda parts: sum(parts, []))
    evaluation, training = data.draw(st.lists(row, min_size=1, max_size=2)), data.draw(st.lists(row, max_size=6))
    finder = OverlapFinder([example(f"e{i}", row_id=str(i)) for i in range(len(evaluation))], evaluation)
    found = finder.find([example(f"t{i}") for i in range(len(training))], [np.array(t) for t in training])
    expected = [any(grams(e) and 2 * len(grams(e) & grams(t)) >= len(grams(e)) for e in evaluation) for t in training]
    assert [kind == "near" for kind in found] == expected
