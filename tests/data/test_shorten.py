"""A row that is too long loses context: never its question, its options, or what stands at the end."""

import pytest
from chat_templates import TEMPLATES, make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.data.encode import Encoder
from medtune.data.shorten import shortened
from medtune.plugins.contracts import Example

LIMIT = 120
FILLER = " ".join(f"word{i}" for i in range(120)) + " ."


@pytest.fixture(scope="module")
def encoder():
    return Encoder(make_tokenizer(TEMPLATES["starling"]))


def row(question, answer="yes"):
    return Example([{"role": "user", "content": question}, {"role": "assistant", "content": answer}], row_id="r")


def question_of(sample):
    return sample.example.messages[0]["content"]


OPTIONS = "###Options:\nA. aspirin\nB. bisoprolol\nC. 10 mg of a drug"
SHAPES = {
    "abstract, then question": (f"{FILLER}\n\n{FILLER}\n\n###Question: Does it help?", "###Question: Does it help?"),
    "instruction, then note": (f"Summarise the note in a sentence.\n\n{FILLER}", "Summarise the note in a sentence."),
    "note, then instruction": (f"{FILLER}\n\nSummarise the note.", "\n\nSummarise the note."),
    "note, question, options": (f"{FILLER}\n\nWhich drug?\n{OPTIONS}", f"Which drug?\n{OPTIONS}"),
    "marked context": (
        f"Context: {FILLER}\nQuestion: Which drug?\nA. one\nB. two",
        "Question: Which drug?\nA. one\nB. two",
    ),
    "question within one line": (f"{FILLER} What is the next step?", "What is the next step?"),
    "question first": (f"What is given? {FILLER} {FILLER}", "What is given?"),
    "numbered choices": (f"{FILLER}\nWhich one?\n1. first\n2. second", "Which one?\n1. first\n2. second"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_asked_stays_whole_and_the_context_is_cut_to_fit(encoder, shape):
    question, kept = SHAPES[shape]
    sample = shortened(row(question), LIMIT, encoder)
    assert LIMIT - 25 < len(sample.ids) <= LIMIT
    assert kept in question_of(sample)
    assert sample.example.messages[1]["content"] == "yes"
    assert "word0 word1 word2" in question_of(sample)


def test_words_are_not_cut_in_two(encoder):
    cut = question_of(shortened(row(f"Summarise.\n\n{FILLER}"), LIMIT, encoder))
    assert cut.split()[-1] in FILLER.split()


def test_a_text_without_spaces_is_cut_at_a_token(encoder):
    text = "".join(chr(0x4E00 + (i * 7) % 900) for i in range(400))
    sample = shortened(row(f"总结这份病历。\n\n{text}", "发热"), LIMIT, encoder)
    assert LIMIT - 5 < len(sample.ids) <= LIMIT
    instruction, kept = question_of(sample).split("\n\n")
    assert instruction == "总结这份病历。"
    assert text.startswith(kept)


def test_a_composed_character_is_kept_or_cut_as_a_whole(encoder):
    text = "e\u0301" * 300
    kept = question_of(shortened(row(f"Read.\n\n{text}"), LIMIT, encoder)).split("\n\n")[1]
    assert len(kept) % 2 == 0
    assert kept


def test_a_question_that_is_too_long_by_itself_is_not_cut(encoder):
    assert shortened(row(f"###Question: {FILLER} {FILLER}\n{OPTIONS}"), LIMIT, encoder) is None


def test_an_answer_quoted_from_what_would_be_cut_is_not_falsified(encoder):
    question = f"Which drug was given?\n\n{FILLER} The patient was given bisoprolol twice ."
    assert shortened(row(question, "bisoprolol twice"), LIMIT, encoder) is None
    assert shortened(row(question, "word3 word4"), LIMIT, encoder) is not None


def test_the_longest_of_several_documents_is_cut(encoder):
    short = "The other note says little ."
    turns = [
        {"role": "user", "content": f"Read this.\n\n{FILLER}\n\nThen answer."},
        {"role": "assistant", "content": "I did."},
        {"role": "user", "content": f"{short}\n\nWhat is given?"},
        {"role": "assistant", "content": "yes"},
    ]
    sample = shortened(Example(turns), LIMIT, encoder)
    assert sample.example.messages[1:] == turns[1:]
    assert sample.example.messages[0]["content"].startswith("Read this.\n\nword0")
    assert sample.example.messages[0]["content"].endswith("\n\nThen answer.")


SENTENCE = st.lists(st.sampled_from(["fever", "of", "38", "the", "patient", "给", "药", "β"]), min_size=1, max_size=60)


@settings(max_examples=60)
@given(st.lists(SENTENCE, min_size=1, max_size=4), st.integers(2, 5), st.booleans())
def test_any_row_with_context_options_and_a_question_keeps_both_or_is_given_up(encoder, notes, options, leads):
    note = "\n\n".join(" ".join(words) + " ." for words in notes)
    asked = "Which one is right?\n" + "\n".join(f"{'ABCDE'[i]}. choice {i}" for i in range(options))
    example = row(f"{asked}\n\n{note}" if leads else f"{note}\n\n{asked}", "B")
    whole = next(encoder.encode_spans([example]))[0]
    sample = shortened(example, len(whole) - 3, encoder)
    if sample is not None:
        assert asked in question_of(sample)
        assert len(sample.ids) <= len(whole) - 3
