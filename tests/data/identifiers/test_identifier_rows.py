"""Rows are looked at column by column; marks stand where identifiers stood, and tags still fit their tokens."""

import json
from decimal import Decimal

import pytest

from medtune.data.identifiers.row_values import Columns, find_in_row, masked_row


def kinds(found):
    return {each.column: [f.kind.value for f in each.findings] for each in found}


def test_texts_lists_and_objects_are_looked_at_by_their_path():
    row = {"messages": [{"role": "user", "content": "Seen by Dr. Corlett."}], "meta": {"note": "on 3 May 2021"}}
    assert kinds(find_in_row(row)) == {"messages[].content": ["name"], "meta.note": ["date"]}


def test_a_mark_stands_in_the_place_of_each_identifier():
    row, _found = masked_row({"input": "Seen by Dr. Corlett on 3 May 2021.", "n": 3, "none": None, "yes": True})
    assert row == {"input": "Seen by Dr. [NAME] on [DATE].", "n": 3, "none": None, "yes": True}


def test_a_column_s_name_tells_what_its_values_are():
    row, found = masked_row({"patient_name": "Quill", "mrn": 12345, "text": "no fever"})
    assert row == {"patient_name": "[NAME]", "mrn": "[RECORD_NUMBER]", "text": "no fever"}
    assert kinds(found) == {"patient_name": ["name"], "mrn": ["record_number"]}


def test_a_name_of_one_column_is_known_in_the_others():
    row, _found = masked_row({"note": "Mrs Quillfeather was seen.", "answer": "Quillfeather has a cough."})
    assert row["answer"] == "[NAME] has a cough."


def test_tokens_keep_their_number():
    tokens = ["Seen", "by", "Dr.", "Corlett", "on", "3", "May", "2021", "for", "fever"]
    row, _found = masked_row({"tokens": tokens, "ner_tags": ["O"] * len(tokens)})
    assert row["tokens"] == ["Seen", "by", "Dr.", "[NAME]", "on", "[DATE]", "[DATE]", "[DATE]", "for", "fever"]


def test_lines_of_tokens_and_tags_keep_their_tokens_and_tags():
    text = "Dr. Corlett gave aspirin on 3 May 2021 ."
    lines = "\n".join(f"{word} : {'B' if word == 'aspirin' else 'O'}" for word in text.split())
    row, _found = masked_row({"input": text, "output": lines})
    assert row["input"] == "Dr. [NAME] gave aspirin on [DATE] [DATE] [DATE] ."
    assert [line.split(" : ")[0] for line in row["output"].split("\n")] == row["input"].split()
    assert [line.split(" : ")[1] for line in row["output"].split("\n")] == ["O", "O", "O", "B", "O", "O", "O", "O", "O"]


def test_a_column_that_is_skipped_stays_as_it_is():
    row, found = masked_row({"source": "Dr. Corlett", "text": "fever"}, Columns(frozenset({"source"})))
    assert row["source"] == "Dr. Corlett"
    assert found == []


def test_json_text_is_looked_at_as_what_it_is_trained_on():
    turns = [
        {"role": "user", "content": "Bei\nHerrn Z\u00fcrnl\u00fc, 1234567"},
        {"role": "assistant", "content": "Z\u00fcrnl\u00fc"},
    ]
    for text in (json.dumps(turns), json.dumps(turns, ensure_ascii=False)):
        row, found = masked_row({"messages": text, "n": 1})
        assert json.loads(row["messages"]) == [
            {"role": "user", "content": "Bei\nHerrn [NAME], [OTHER_NUMBER]"},
            {"role": "assistant", "content": "[NAME]"},
        ]
        assert [[f.kind.value for f in each.findings] for each in found] == [["name", "other_number"], ["name"]]
    clean = {"messages": '[{"role": "user",  "content": "no f\\u00e9ver"}]'}
    assert masked_row(clean)[0] == clean


def test_a_key_that_json_text_says_twice_hides_nothing():
    row, found = masked_row({"options": '{"A": "Dr. Quillfeather", "A": "fever"}'})
    assert found
    assert "Quillfeather" not in row["options"]


def test_half_a_character_in_json_text_can_still_be_written():
    row, _found = masked_row({"messages": '[{"role": "user", "content": "\\ud800 Dr. Quillfeather é"}]'})
    assert row["messages"].encode()
    assert "Quillfeather" not in row["messages"]


def test_a_column_that_the_spec_maps_is_read_as_json_too():
    columns = Columns(as_json=frozenset({"dialogue.turns"}))
    row, _found = masked_row({"dialogue": {"turns": '[{"value": "Dr. Z\\u00fcrnl\\u00fc"}]'}}, columns)
    assert json.loads(row["dialogue"]["turns"]) == [{"value": "Dr. [NAME]"}]


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["the cafe in Springfield, Kent", "Dr. Quillfeather"], "Dr. Quillfeather"),
        (["Fever.", "Corlett."], "Corlett."),
        (["Zwierlein", "Fever"], "Zwierlein"),
    ],
)
def test_an_option_and_the_answer_that_repeats_it_are_masked_alike(options, answer):
    row, _found = masked_row(
        {"question": "Who saw Mr Zwierlein, of Dr. Corlett?", "options": options, "answer": answer}
    )
    assert row["answer"] in row["options"]
    assert "[" in row["answer"]


def test_what_is_the_whole_of_a_column_is_known_in_its_texts():
    row, _found = masked_row(
        {"city": "Oberwinzen", "mrn": 48213, "note": "lives near Oberwinzen (48213)", "answer": "oberwinzen."}
    )
    assert row == {
        "city": "[PLACE]",
        "mrn": "[RECORD_NUMBER]",
        "note": "lives near [PLACE] ([RECORD_NUMBER])",
        "answer": "[PLACE].",
    }


def test_numbers_are_looked_at_in_columns_whose_name_tells_nothing():
    row, found = masked_row(
        {"a": 9434765919, "b": 19400312.0, "c": 123456, "d": 0.1234567891, "e": -1234567, "f": [1, 9434765919]}
    )
    assert row == {
        "a": "[HEALTH_PLAN_NUMBER]",
        "b": "[DATE]",
        "c": 123456,
        "d": 0.1234567891,
        "e": -1234567,
        "f": [1, "[HEALTH_PLAN_NUMBER]"],
    }
    assert kinds(found) == {"a": ["health_plan_number"], "b": ["date"], "f[]": ["health_plan_number"]}
    assert find_in_row({"x": 1e300, "y": float("inf"), "z": float("nan"), "d": Decimal("NaN")}) == []
