"""Rows that stand in training and evaluation are found, and paraphrase that many rows share is not taken for them."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.data.duplicates import DuplicateCounter
from medtune.data.overlap import OverlapFinder, Pair
from medtune.data.row_keys import keys_of
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


def settled(evaluation, training, **options):
    """Return what is found between examples of one id per word."""

    def ids(rows):
        return [ids_of(" ".join(m["content"] for m in row.messages)) for row in rows]

    finder = OverlapFinder(evaluation, ids(evaluation), **options)
    kinds_found = finder.find(training, ids(training))
    return finder.settle(), kinds_found


def named(questions, prefix, answer="Neutral", **facts):
    return [replace(example(q, answer, row_id=f"{prefix}{i}"), **facts) for i, q in enumerate(questions)]


PAIRS = [f"Sentence 1: BP was {i} .\nSentence 2: BP is high ." for i in range(60)]


def test_the_same_short_input_under_another_instruction_is_overlap():
    evaluation = named([f"Decide on the relation.\n\n{pair}" for pair in PAIRS], "e")
    training = named([f"Is the second sentence entailed?\n\n{pair}" for pair in PAIRS[:50]], "t")
    found, _ = settled(evaluation, training)
    assert found.counts == {"s": {"input": 50}}
    assert found.evaluation_rows == sorted(f"e{i}" for i in range(50))
    assert Pair("e7", "t7", "input", True) in found.pairs


@pytest.mark.parametrize("own", [True, False])
def test_a_paraphrase_of_its_own_for_every_row_hides_no_input(own):
    said = [f"{words(30, i)}?" if own else f"{words(30, 0)}?" for i in range(120)]
    evaluation = named([f"{said[i]}\n\nThe dose was {i} mg ." for i in range(60)], "e")
    training = named([f"{said[60 + i]}\n\nThe dose was {i + 30} mg ." for i in range(60)], "t")
    found, _ = settled(evaluation, training)
    assert found.evaluation_rows == sorted(f"e{i}" for i in range(30, 60))


def test_a_system_turn_an_instruction_behind_or_none_hides_no_input():
    text = words(20, 5)
    evaluation = named([f"Name the drug.\n\n{text}"], "e")
    turns = [{"role": "system", "content": "Name it."}, {"role": "user", "content": text}]
    others = [
        Example([*turns, {"role": "assistant", "content": "x"}], "s", None, "system"),
        example(f"{text}\n\nWhich drug is named?", row_id="behind"),
        example(text, row_id="none"),
        example(f"First step.\n\nSecond step.\n\n{text}", row_id="longer"),
    ]
    found, _ = settled(evaluation, others)
    assert {pair.training for pair in found.pairs} == {"system", "behind", "none", "longer"}


def test_all_copies_of_an_evaluation_row_are_found_not_the_last_only():
    text = words(60, 1)
    evaluation = named([text, text, text.upper(), words(60, 2)], "e")
    for training in (text, text.upper(), f"today {text} again"):
        found, _ = settled(evaluation, [example(training)])
        assert found.evaluation_rows == ["e0", "e1", "e2"], training


def test_one_question_asked_of_many_texts_is_no_overlap():
    questions = [f"What is the {thing} of the patient?" for thing in ("age", "dose", "ward", "name", "pulse")]
    rows = [f"{words(60, note)}\n\n{question}" for note in range(40) for question in questions]
    found, _ = settled(named(rows[:20], "e"), named(rows[20:], "t"))
    assert found.counts == {}


def test_a_text_asked_another_question_is_overlap():
    questions = [f"What is the {thing} of the patient?" for thing in ("age", "dose", "ward", "name", "pulse")]
    rows = [f"{words(60, note)}\n\n{question}" for note in range(40) for question in questions]
    found, _ = settled(named(rows[::5][:4], "e"), named(rows[1::5], "t"))
    assert found.evaluation_rows == ["e0", "e1", "e2", "e3"]


def test_rows_of_one_document_are_overlap_and_members_of_a_mix_number_theirs_apart():
    evaluation = named([words(20, 1), words(20, 2)], "e", document="7")
    training = [
        replace(row, row_id=name)
        for row, name in zip(named([words(20, 3), words(20, 4)], "t", document="7"), ("t0", "mix1/t1"), strict=True)
    ]
    found, kinds_found = settled(evaluation, training)
    assert kinds_found == ["document", None]
    assert found.evaluation_rows == ["e0", "e1"]


def test_what_is_left_out_is_named_and_not_counted_against_an_evaluation_row():
    evaluation = named([f"Decide.\n\n{pair}" for pair in PAIRS[:5]], "e")
    found, kinds_found = settled(evaluation, named([f"Say.\n\n{PAIRS[0]}", f"Say.\n\n{PAIRS[9]}"], "t"), drops=True)
    assert kinds_found == ["input", None]
    assert found.evaluation_rows == []
    assert found.pairs == [Pair("e0", "t0", "input", False)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_planted_row_is_missed_whatever_its_instruction_and_length(data):
    """Leaked inputs of 4 words and more, under any of eleven instructions, among rows that share nothing."""
    said = st.sampled_from(["Decide.", *(words(length, 1000 + length) for length in range(5, 50, 5))])
    inputs = [words(data.draw(st.integers(4, 40)), seed) for seed in range(30)]
    evaluation = named([f"{data.draw(said)}\n\n{text}" for text in inputs], "e")
    leaked = data.draw(st.sets(st.integers(0, 29)))
    training = [f"{data.draw(said)}\n\n{inputs[i]}" for i in leaked] + [
        f"{data.draw(said)}\n\n{words(12, i)}" for i in range(100, 150)
    ]
    found, _ = settled(evaluation, named(data.draw(st.permutations(training)), "t"))
    assert {f"e{i}" for i in leaked} <= set(found.evaluation_rows)


def test_duplicates_and_contradictions_are_counted_by_source():
    counter = DuplicateCounter()
    rows = [
        ("a", "q one?", "yes"),
        ("a", "Q one", "yes"),
        ("b", "q one", "no"),
        ("a", "other", "yes"),
        ("b", "last", "x"),
    ]
    counter.add((source, keys_of(example(question, answer))) for source, question, answer in rows)
    assert counter.to_json() == {"a": {"repeated": 1, "contradicting": 2}, "b": {"contradicting": 1}}
    assert DuplicateCounter().to_json() == {}
