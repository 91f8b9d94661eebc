"""Options that stand in columns of their own are read, or named with the setting that reads them: never left out in silence."""

import random
import re
import shlex

import pytest

from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError
from medtune.specfile import apply_overrides, validate_spec

WORDS = ("gout", "asthma", "migraine", "anaemia", "eczema", "angina", "sepsis", "rubella")
NAMES = {
    "letters": ("A", "B", "C", "D"),
    "small letters": ("a", "b", "c", "d"),
    "MedMCQA": ("opa", "opb", "opc", "opd"),
    "option letters": ("option_a", "option_b", "option_c", "option_d"),
    "spaces": ("Option A", "Option B", "Option C", "Option D"),
    "from 1": ("choice1", "choice2", "choice3", "choice4"),
    "from 01": ("choice01", "choice02", "choice03", "choice04"),
    "HellaSwag": ("ending0", "ending1", "ending2", "ending3"),
    "two": ("answer_1", "answer_2"),
}
ANSWERS = {
    "name": lambda names, _options, at: names[at],
    "letter": lambda _names, _options, at: "abcd"[at],
    "letter in brackets": lambda _names, _options, at: f"({'ABCD'[at]})",
    "index from 0": lambda _names, _options, at: str(at),
    "number from 0": lambda _names, _options, at: at,
    "index from 1": lambda _names, _options, at: str(at + 1),
    "text": lambda _names, options, at: options[at].upper(),
}


def rows_of(names, answer, *, asked="question", answered="answer", long=True, count=60):
    draw = random.Random(0)
    for number in range(count):
        options = [f"{word} {'of the patient ' * long}{k}" for k, word in enumerate(draw.sample(WORDS, len(names)))]
        at = draw.randrange(len(names))
        row = {asked: f"Which one is meant in case {number}?", **dict(zip(names, options, strict=True))}
        yield {**row, answered: ANSWERS[answer](names, options, at)}, options[at]


def read(host, rows, settings=()):
    spec = validate_spec(apply_overrides({"data": {"source": "rows", "validation": None}}, settings)).data
    return list(training_examples(spec, host, Quarantine(None, 0.0, account=Account()), 0, rows=rows))


def advised(sentence):
    """Return the settings of the first way that a sentence names."""
    words = shlex.split(re.split(r"read them with |, or declare", sentence)[1])
    return [word for word in words if word != "--set"]


@pytest.mark.parametrize("long", [True, False], ids=["sentences", "words"])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_options_in_columns_are_named_with_the_setting_that_reads_them(host, names, answer, long):
    rows, right = zip(*rows_of(names, answer, long=long), strict=True)
    with pytest.raises(DataError, match="look like options; read them with") as refused:
        read(host, rows)
    examples = read(host, rows, advised(str(refused.value)))
    assert len(examples) == len(rows)
    for example, option in zip(examples, right, strict=True):
        question, told = (message["content"] for message in example.messages)
        letter = re.search(r"OPTION (\w) IS CORRECT", told)[1]
        assert f"{letter}. {option}".casefold() in question.casefold()


def test_the_setting_names_the_roles_that_other_columns_have(host):
    rows = [
        {**row, "input": f"Note {i} of the ward."}
        for i, (row, _right) in enumerate(rows_of(NAMES["letters"], "text", asked="instruction", answered="output"))
    ]
    with pytest.raises(DataError, match="look like options") as refused:
        read(host, rows)
    example = read(host, rows, advised(str(refused.value)))[0]
    assert "Note 0 of the ward." in example.messages[0]["content"]
    assert "D. " in example.messages[0]["content"]


@pytest.mark.parametrize("more", [
    {"x1": 3, "x2": 4, "x3": 5},
    {"visit1": "ward", "visit2": "home", "visit4": "ward"},
    {"A": "ward", "B": "home"},
], ids=["measurements", "gaps", "other answers"])  # fmt: skip
def test_columns_that_no_answer_names_are_no_options(host, more):
    rows = [
        {"question": f"How is case {i}?", "answer": str(1 + i % 3) if "x1" in more else f"well {i}", **more}
        for i in range(40)
    ]
    assert len(read(host, rows)) == 40


def test_columns_of_options_may_be_declared_to_be_read_by_nothing(host):
    rows = [row for row, _right in rows_of(NAMES["spaces"], "letter")]
    with pytest.raises(DataError) as refused:
        read(host, rows)
    declared = shlex.split(str(refused.value).rpartition("--set ")[2])
    assert len(read(host, rows, declared)) == len(rows)
