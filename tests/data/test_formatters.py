"""Every shape of row becomes the right question and answer; what is wrong with one is said without its text."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune.data.formatters import (
    MalformedRowError,
    choose_formatter,
    conversation,
    formatter,
    optional_text,
    provide_formatters,
    text,
)
from medtune.errors import DataError
from medtune.plugins.contracts import Example, PromptFormatter
from medtune.plugins.host import create_host

BUILT_IN = {f.name: f for f in provide_formatters()}
SECRET = "Mrs Patient"
MCQ = {"question": "Which vitamin?", "opa": "A1", "opb": "B2", "opc": "C3", "opd": "D4", "cop": 2, "exp": "Since C."}
USMLE = {"question": "Which?", "options": {"B": "two", "A": "one", "C": None}, "answer_idx": "B", "answer": "two"}
ABSTRACT = {"contexts": ["First.", "Second."], "labels": ["BACKGROUND", "RESULTS"]}
PUBMED = {"question": "Does it?", "context": ABSTRACT, "long_answer": "It does.", "final_decision": "yes"}
O1 = {"Question": "Why?", "Complex_CoT": "Let me think.", "Response": "Because."}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
LISTED = {"question": "Which?", "answer": "two"}
ROWS = {
    "dolly": {"instruction": "Sum up.", "context": "Long note.", "response": "Short."},
    "medmcqa_one_based": {**MCQ, "cop": 3},
    "question_choices": {**LISTED, "choices": ["one", "two"]},
    "question_options": {**LISTED, "options": ["one", "two"]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "squad": {"question": "Which?", "context": "Drug two helps.", "answers": {"text": ["two"], "answer_start": [5]}},
    "text_label": {"text": "No fever.", "label": "afebrile"},
    "token_tags": {"tokens": ["Aspirin", "helps"], "ner_tags": ["B-Drug", "O"]},
    "alpaca": {"instruction": "Name it.", "input": "aspirin", "output": "drug", "source": "demo"},
    "medmcqa": MCQ,
    "medqa_usmle": USMLE,
    "medical_o1": O1,
    "medical_o1_answer": O1,
    "messages": {"messages": TURNS},
    "prompt_completion": {"prompt": "Hi", "completion": "Hello"},
    "pubmedqa": PUBMED,
    "question_answer": {"question": "What?", "answer": "That."},
}


def turns(name, row):
    """Return question and answer."""
    question, answer = BUILT_IN[name].format(row).messages
    assert (question["role"], answer["role"]) == ("user", "assistant")
    return question["content"], answer["content"]


def test_every_shape_is_registered_and_satisfies_the_contract():
    assert {f.name for f in create_host(autoload=False).all("formatter")} == set(ROWS)
    assert all(isinstance(f, PromptFormatter) for f in BUILT_IN.values())


def test_instruction_and_input_are_separated_by_a_blank_line():
    assert turns("alpaca", ROWS["alpaca"]) == ("Name it.\n\naspirin", "drug")


@pytest.mark.parametrize("empty", [{}, {"input": None}, {"input": ""}, {"input": " \n"}])
def test_an_instruction_without_input_stands_alone(empty):
    assert turns("alpaca", {"instruction": "Say it. ", "output": "It.", **empty}) == ("Say it.", "It.")


def test_the_source_is_kept_where_there_is_one_whatever_it_is():
    assert BUILT_IN["alpaca"].format(ROWS["alpaca"]).source == "demo"
    assert BUILT_IN["alpaca"].format({**ROWS["alpaca"], "source": 7}).source == "7"
    assert BUILT_IN["alpaca"].format({"instruction": "x", "output": "y"}).source == ""
    assert BUILT_IN["alpaca"].format({"instruction": "x", "output": "y", "source": None}).source == ""


def test_options_of_medmcqa_are_listed_and_the_answer_names_one():
    assert turns("medmcqa", MCQ) == (
        "###Question: Which vitamin?\n###Options:\nA. A1\nB. B2\nC. C3\nD. D4",
        "###Rationale: Since C.\n\n###Answer: OPTION C IS CORRECT.",
    )
    assert turns("medmcqa", {**MCQ, "exp": None})[1] == "###Answer: OPTION C IS CORRECT."


@pytest.mark.parametrize("number", [2, "2", " 2 ", 2.0])
def test_the_option_s_number_may_be_text_or_a_float(number):
    assert turns("medmcqa", {**MCQ, "cop": number, "exp": ""})[1] == "###Answer: OPTION C IS CORRECT."


@pytest.mark.parametrize("number", [4, -1, None, True, 1.5, "C", "-1", [2], float("nan")])
def test_an_option_s_number_that_is_none_is_refused(number):
    with pytest.raises(MalformedRowError, match="column 'cop' is not a number from 0 to 3"):
        BUILT_IN["medmcqa"].format({**MCQ, "cop": number})


def test_options_of_medqa_keep_their_letters():
    assert turns("medqa_usmle", USMLE) == (
        "###Question: Which?\n###Options:\nA. one\nB. two",
        "###Answer: OPTION B IS CORRECT.",
    )
    gap = {**USMLE, "options": {"A": "one", "D": "four"}, "answer_idx": "D"}
    assert turns("medqa_usmle", gap) == (
        "###Question: Which?\n###Options:\nA. one\nD. four",
        "###Answer: OPTION D IS CORRECT.",
    )


def test_pubmedqa_asks_after_the_abstract_and_decides_after_the_reasons():
    assert turns("pubmedqa", PUBMED) == (
        "First.\n\nSecond.\n\n###Question: Does it?",
        "It does.\n\n###Answer: yes",
    )
    assert turns("pubmedqa", {**PUBMED, "long_answer": None, "final_decision": "Maybe"})[1] == "###Answer: maybe"


def test_medical_o1_comes_with_its_reasoning_or_without():
    assert turns("medical_o1", O1) == ("Why?", "Because.")
    answer = BUILT_IN["medical_o1"].format(O1).messages[-1]
    assert (answer["reasoning_content"], answer["reasoning_inline"]) == ("Let me think.", True)
    assert turns("medical_o1_answer", O1) == ("Why?", "Because.")


def test_reasoning_keeps_the_question_beside_a_system_text():
    row = {"Question": "Why?", "Complex_CoT": "Since.", "Response": "So.", "system": "Be brief."}
    system, question, answer = BUILT_IN["medical_o1"].format(row).messages
    assert (system["content"], question["content"], answer["content"]) == ("Be brief.", "Why?", "So.")
    assert answer["reasoning_content"] == "Since."


def test_a_context_stands_before_the_question_and_a_system_text_before_both():
    row = {**ROWS["question_answer"], "context": ["A note. ", "", "More."], "system": "Be brief."}
    system, question, answer = BUILT_IN["question_answer"].format(row).messages
    assert system == {"role": "system", "content": "Be brief."}
    assert (question["content"], answer["content"]) == ("A note.\n\nMore.\n\nWhat?", "That.")
    assert turns("dolly", ROWS["dolly"]) == ("Sum up.\n\nLong note.", "Short.")
    assert turns("squad", ROWS["squad"]) == ("Drug two helps.\n\nWhich?", "two")


@pytest.mark.parametrize("answer", ["two", " TWO ", "B", "b", "(B)", ["two"]])
@pytest.mark.parametrize(
    "options",
    [
        ["one", "two"],
        {"A": "one", "B": "two"},
        {"text": ["one", "two"], "label": ["A", "B"]},
        [{"key": "A", "value": "one"}, {"key": "B", "value": "two"}],
    ],
)
def test_options_are_lettered_and_the_answer_maps_to_its_letter(options, answer):
    row = {"question": "Which?", "options": options, "answer": answer}
    assert turns("question_options", row) == (
        "###Question: Which?\n###Options:\nA. one\nB. two",
        "###Answer: OPTION B IS CORRECT.",
    )


def test_several_right_options_are_named_together_and_none_at_all_leave_a_plain_question():
    row = {"question": "Which?", "options": ["one", "two", "three"], "answer": ["three", "one"]}
    assert turns("question_options", row)[1] == "###Answer: A, C"
    assert turns("question_choices", {**LISTED, "choices": []}) == ("Which?", "two")


def test_options_that_are_counted_from_one_have_a_formatter_of_their_own():
    assert turns("medmcqa_one_based", {**MCQ, "cop": 3})[1].endswith("OPTION C IS CORRECT.")
    with pytest.raises(MalformedRowError, match="column 'cop' is not a number from 1 to 4"):
        BUILT_IN["medmcqa_one_based"].format({**MCQ, "cop": 0})


def test_labels_and_tags_become_answers():
    assert turns("text_label", ROWS["text_label"]) == ("No fever.", "afebrile")
    row = {**ROWS["text_label"], "instruction": "Fever?", "label": ["a", "b"]}
    assert turns("text_label", row) == ("Fever?\n\nNo fever.", "a, b")
    question, answer = turns("token_tags", ROWS["token_tags"])
    assert question.endswith("\n\nAspirin helps")
    assert answer == "Aspirin : B-Drug\nhelps : O"


def test_turns_are_read_as_other_tools_write_them():
    parts = [{"type": "text", "text": "Dose"}, {"type": "text", "text": "of x?"}]
    written = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "draft", "weight": 0},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "20 mg", "weight": 1},
    ]
    system, user, draft, _sure, last = BUILT_IN["messages"].format({"messages": written}).messages
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"] == "Dose\nof x?"
    assert draft["weight"] == 0
    assert "weight" not in last


@pytest.mark.parametrize("empty", ["", " ", None])
def test_a_system_turn_without_text_is_left_out(empty):
    written = [{"role": "system", "content": empty}, *TURNS]
    assert list(BUILT_IN["messages"].format({"messages": written, "system": empty}).messages) == TURNS


def test_a_system_column_stands_first_and_only_once():
    system = {"role": "system", "content": "Be brief."}
    for written in (TURNS, [system, *TURNS]):
        assert list(BUILT_IN["messages"].format({"messages": written, "system": "Be brief."}).messages) == [
            system,
            *TURNS,
        ]


def test_conversations_are_kept_turn_by_turn():
    longer = [{"role": "system", "content": "Be brief."}, *TURNS, *TURNS]
    assert list(BUILT_IN["messages"].format({"messages": longer}).messages) == longer
    assert turns("prompt_completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}) == ("Hi", "Hello")


@pytest.mark.parametrize("name", ["prompt_completion", "question_answer"])
def test_text_is_taken_as_it_is(name):
    question, answer = ROWS[name].values()
    assert turns(name, ROWS[name]) == (question, answer)


FAULTS = [
    ("alpaca", {"output": None}, "column 'output' is null"),
    ("alpaca", {"output": " "}, "column 'output' is empty"),
    ("alpaca", {"output": 3}, "column 'output' holds a value of type int, not text"),
    ("alpaca", {"input": [SECRET]}, "column 'input' holds a value of type list, not text"),
    ("alpaca", {"source": 3.5}, "column 'source' holds a value of type float"),
    ("alpaca", {"output": 3}, "data.labels.output names numbers"),
    ("dolly", {"context": 3}, "column 'context' holds a value of type int"),
    ("question_answer", {"context": [SECRET, 3]}, "column 'context' holds a list of other things than texts"),
    ("question_choices", {"choices": [f"{SECRET}{n}" for n in range(11)]}, "column 'choices' holds more than 10 options"),
    ("question_choices", {"choices": SECRET}, "column 'choices' is not a list of options"),
    ("question_choices", {"choices": [SECRET, None]}, "column 'choices' holds options that are not text"),
    ("question_choices", {"answer": SECRET}, "column 'answer' names no option"),
    ("question_choices", {"answer": 1}, "column 'answer' is a number, and options may be counted from 0 or from 1"),
    ("question_choices", {"choices": ["two", "two"]}, "column 'answer' names more than one option"),
    ("question_choices", {"choices": ["B", "A"], "answer": "A"}, "column 'answer' names more than one option"),
    ("squad", {"answers": {"text": []}}, "column 'answers' holds no answer"),
    ("text_label", {"label": 1}, "column 'label' holds numbers; data.labels.label names them"),
    ("text_label", {"label": [[0, 5, SECRET]]}, "column 'label' holds spans of the text"),
    ("token_tags", {"ner_tags": [0, 1]}, "column 'ner_tags' holds numbers; data.labels.ner_tags names them"),
    ("token_tags", {"ner_tags": ["O"]}, "not of equal length"),
    ("token_tags", {"tokens": [SECRET, "helps"]}, "hold something else than words"),
    ("messages", {"messages": [{"role": "tool", "content": SECRET}]}, "has tool turns"),
    ("messages", {"messages": [{"role": "assistant", "content": None, "tool_calls": [SECRET]}]}, "tool turns .*'tool_calls'"),
    ("messages", {"tools": [SECRET]}, "has tool turns .column 'tools'"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a part of type 'image_url'"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": SECRET}]}]}, "a part that is no text"),
    ("messages", {"messages": [{**TURNS[0], "weight": 0.5}]}, "a weight other than 0 and 1"),
    ("messages", {"system": SECRET, "messages": [{"role": "system", "content": "x"}, *TURNS]}, "a system turn is not the first"),
    ("alpaca", {"instruction": ""}, "column 'instruction' is empty"),
    ("medmcqa", {"opb": None}, "column 'opb' is null"),
    ("medmcqa", {"exp": 1}, "column 'exp' holds"),
    ("medqa_usmle", {"options": SECRET}, "column 'options' is not a mapping"),
    ("medqa_usmle", {"options": {"A": 3}}, "column 'options' is not a mapping"),
    ("medqa_usmle", {"options": {SECRET: "x"}}, "column 'options' is not a mapping"),
    ("medqa_usmle", {"options": {"AB": "x"}, "answer_idx": "AB"}, "column 'options' is not a mapping"),
    ("medqa_usmle", {"options": {}}, "column 'options' is not a mapping"),
    ("medqa_usmle", {"answer_idx": SECRET}, "column 'answer_idx' names no option"),
    ("medqa_usmle", {"answer_idx": "C"}, "column 'answer_idx' names no option"),
    ("pubmedqa", {"context": [SECRET]}, "column 'context' holds no list of texts"),
    ("pubmedqa", {"context": {"contexts": [SECRET, None]}}, "column 'context' holds no list of texts"),
    ("pubmedqa", {"context": {"contexts": []}}, "column 'context' holds no list of texts"),
    ("pubmedqa", {"final_decision": SECRET}, "column 'final_decision' is not yes, no or maybe"),
    ("medical_o1", {"Complex_CoT": None}, "column 'Complex_CoT' is null"),
    ("messages", {"messages": SECRET}, "column 'messages' is not a list of messages"),
    ("messages", {"messages": [SECRET]}, "message 1 of column 'messages' has no role and content"),
    ("messages", {"messages": [{"role": SECRET, "content": "x"}]}, "message 1 .* has a role other than system, user"),
    ("messages", {"messages": [{"role": "user", "content": [" "]}]}, "message 1 of column 'messages' has no text"),
    ("messages", {"messages": TURNS[:1]}, "the last message is not the assistant's"),
    ("messages", {"messages": TURNS[1:]}, "does not begin with the user"),
    ("messages", {"messages": [*TURNS, {"role": "system", "content": SECRET}, *TURNS]}, "a system turn is not the first"),
    ("prompt_completion", {"completion": [SECRET]}, "column 'completion' holds a value of type list"),
    ("prompt_completion", {"prompt": TURNS[:1], "completion": SECRET}, "column 'completion' is not a list of messages"),
    ("question_answer", {"answer": {"text": SECRET}}, "column 'answer' holds a value of type dict"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "reason"), FAULTS)
def test_what_is_wrong_with_a_row_is_said_without_its_text(name, change, reason):
    with pytest.raises(MalformedRowError, match=reason) as caught:
        BUILT_IN[name].format({**ROWS[name], **change})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("name", "column"), [(n, c) for n, f in BUILT_IN.items() for c in sorted(f.columns)])
def test_a_missing_column_is_named(name, column):
    row = {k: v for k, v in ROWS[name].items() if k != column}
    with pytest.raises(MalformedRowError, match=f"column '{column}'"):
        BUILT_IN[name].format(row)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["A", "role", "content"]), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("name", ROWS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # other work on the machine is no finding
@given(st.data())
def test_no_row_makes_a_formatter_raise_anything_else(name, data):
    columns = sorted(set(ROWS[name]) | set(BUILT_IN[name].columns))
    row = data.draw(st.fixed_dictionaries({}, optional={c: ANYTHING | st.just(ROWS[name].get(c)) for c in columns}))
    try:
        example = BUILT_IN[name].format(row)
    except MalformedRowError:
        return
    assert example.messages[-1]["role"] == "assistant"
    assert all(isinstance(m["content"], str) and m["content"].strip() for m in example.messages)


CHOSEN = [(name, [*row]) for name, row in ROWS.items() if name not in ("medical_o1_answer", "medmcqa_one_based")]


@pytest.mark.parametrize(("name", "columns"), CHOSEN)
def test_columns_choose_the_formatter(name, columns):
    assert choose_formatter([*columns, "id"], [*BUILT_IN.values()]).name == name


@pytest.mark.parametrize(
    "columns",
    [["messages", "prompt", "completion"], ["instruction", "output", "messages"], ["question", "answer", "messages"]],
)
def test_columns_that_fit_several_formatters_are_an_error_that_lists_them(columns):
    with pytest.raises(DataError, match=r"fit several formatters: '\w+', '\w+'; name one as data\.formatter"):
        choose_formatter(columns, [*BUILT_IN.values()])


def test_columns_that_fit_none_are_an_error_that_lists_both():
    with pytest.raises(DataError, match=r"no formatter fits the columns 'diagnosis', 'note'; .*'alpaca', 'dolly'"):
        choose_formatter(["note", "diagnosis"], [*BUILT_IN.values()])


def test_columns_that_look_like_a_row_are_not_shown():
    with pytest.raises(DataError, match="'age' and 2 whose names look like text") as caught:
        choose_formatter([f"{SECRET} has a cough", SECRET, "age"], [*BUILT_IN.values()])
    assert SECRET not in str(caught.value)
    with pytest.raises(DataError, match=r"fits the columns \(there are none\)"):
        choose_formatter([], [*BUILT_IN.values()])


@formatter("notes", columns=["note", "summary"])
def notes(row):
    if len(text(row, "note")) > 100:
        raise MalformedRowError("the note is too long")
    return conversation(text(row, "note"), text(row, "summary"), row)


def test_a_formatter_is_made_of_a_function():
    assert isinstance(notes, PromptFormatter)
    example = notes.format({"note": "Cough.", "summary": "A cough.", "source": "ward"})
    assert example == conversation("Cough.", "A cough.", {"source": "ward"})
    assert isinstance(example, Example)
    assert choose_formatter(["summary", "note", "id"], [*BUILT_IN.values(), notes]) is notes


def test_a_formatter_that_reads_more_columns_stands_before_one_that_reads_fewer():
    more = formatter("more", columns=["note", "summary", "ward"])(notes.format)
    assert choose_formatter(["summary", "note", "ward"], [notes, more]) is more
    same = formatter("same", columns=["note", "summary"])(notes.format)
    with pytest.raises(DataError, match="'notes', 'same'"):
        choose_formatter(["summary", "note"], [notes, same])


def test_a_formatter_without_columns_is_never_chosen_by_them():
    by_name = formatter("by_name")(notes.format)
    assert choose_formatter(["note", "summary"], [by_name, notes]) is notes


def test_optional_text_may_be_missing_but_not_of_another_type():
    assert [optional_text(row, "a") for row in ({}, {"a": None}, {"a": "b"})] == ["", "", "b"]
    with pytest.raises(MalformedRowError, match="type bool"):
        optional_text({"a": True}, "a")
