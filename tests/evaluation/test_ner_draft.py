"""The task of naming entities says what an answer will look like: a line for each word of the input."""

from medtune import Example
from medtune.evaluation.tasks.ner import NerTask


def example(question):
    return Example(({"role": "user", "content": question}, {"role": "assistant", "content": "any"}))


def test_the_form_has_a_line_for_each_word_after_the_instruction():
    form = NerTask().draft(example("Label all .\n\nfever helps ."))
    assert "O".join(form.fixed) == "fever : O\nhelps : O\n. : O"
    assert form.choices == ["O"]


def test_an_input_without_words_has_no_form():
    assert NerTask().draft(example("Label all .\n\n")) is None
