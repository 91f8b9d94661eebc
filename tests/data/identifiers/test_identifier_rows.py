"""Rows are looked at column by column; marks stand where identifiers stood, and tags still fit their tokens."""

from medtune.data.identifiers.row_values import find_in_row, masked_row


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
    row, found = masked_row({"source": "Dr. Corlett", "text": "fever"}, frozenset({"source"}))
    assert row["source"] == "Dr. Corlett"
    assert found == []
