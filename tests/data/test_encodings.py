"""Text in several encodings is read right or refused by file and line, and never garbled in silence."""

import json

import pytest

from medtune import DataSpec
from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError


def asked(number):
    return {"question": f"Was hat Patient Müller {number}?", "answer": f"Über Übelkeit klagt Patient {number}."}


def text_of(kind, first=0, rows=30):
    some = [asked(number) for number in range(first, first + rows)]
    if kind == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
    return "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in some)


def read(host, source, limit=0.01, **spec):
    account = Account()
    quarantine = Quarantine(None, limit, account=account)
    examples = list(training_examples(DataSpec(source=str(source), **spec), host, quarantine, 0))
    return examples, dict(quarantine.reasons), account


def is_right(example):
    question, answer = (message["content"] for message in example.messages)
    return question.startswith("Was hat Patient Müller ") and answer.startswith("Über Übelkeit klagt ")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_files_of_one_folder_may_have_encodings_that_they_show_themselves(host, tmp_path, kind):
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
    for number, encoding in enumerate(encodings):
        (tmp_path / f"{encoding}.{kind}").write_text(text_of(kind, 100 * number), encoding)
    examples, reasons, _account = read(host, tmp_path)
    assert len(examples) == 30 * len(encodings)
    assert not reasons
    assert all(map(is_right, examples))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_of_which_some_rows_are_in_another_encoding_is_named_with_its_lines(host, tmp_path, kind):
    lines = text_of(kind).splitlines(keepends=True)
    written = b"".join(
        line.encode("cp1252" if number in (20, 21) else "utf-8") for number, line in enumerate(lines, start=1)
    )
    (tmp_path / f"rows.{kind}").write_bytes(written)
    told = rf"2 of 30 .*rows\.{kind}:20, .*rows\.{kind}:21; 'rows\.{kind}' has rows in UTF-8 as well, which data\.encoding would"
    with pytest.raises(DataError, match=told):
        read(host, tmp_path)
    with pytest.raises(DataError, match=rf"rows\.{kind}' holds UTF-8 text, which data\.encoding=cp1252 would garble"):
        read(host, tmp_path, encoding="cp1252")
    examples, reasons, _account = read(host, tmp_path, limit=0.1)
    assert len(examples) == 28
    assert sum(reasons.values()) == 2
    assert all(map(is_right, examples))


def test_one_file_of_a_folder_in_another_encoding_is_named_and_no_encoding_for_all_is_advised(host, tmp_path):
    (tmp_path / "a.jsonl").write_text(text_of("jsonl"), "utf-8")
    (tmp_path / "b.jsonl").write_text(text_of("jsonl", 100), "cp1252")
    with pytest.raises(DataError, match=r"other files are UTF-8, .*: write 'b\.jsonl' anew in UTF-8"):
        read(host, tmp_path)
    with pytest.raises(DataError, match=r"a\.jsonl' holds UTF-8 text"):
        read(host, tmp_path, encoding="cp1252")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(DataError, match=r"set data\.encoding to the one that it has, such as cp1252"):
        read(host, tmp_path)
    assert all(map(is_right, read(host, tmp_path, encoding="cp1252")[0]))  # the advice can be taken
    with pytest.raises(DataError, match=r"none of cp932 either"):
        read(host, tmp_path, encoding="cp932")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_marks_inside_files_that_were_put_together_are_no_text(host, tmp_path, kind):
    parts = [text_of(kind, number).encode("utf-8-sig") for number in (0, 30)]
    (tmp_path / f"rows.{kind}").write_bytes(b"".join(parts))
    examples, reasons, account = read(host, tmp_path)
    assert len(examples) == 60
    assert not reasons
    assert all(map(is_right, examples))
    assert bool(account.to_json()[0]["read_as"]) == (kind == "csv")  # the header that comes again is counted


CONTROLS = {
    "\0": r"U\+0000 \(NUL\)",
    "\x07": r"U\+0007",
    "\x1b": r"U\+001B",
    "\x7f": r"U\+007F",
    "\x92": r"U\+0092, as text has",
}


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("column", ["question", "answer"])
def test_control_characters_are_set_aside_by_name_and_counted(host, tmp_path, control, column):
    rows = [asked(number) for number in range(20)]
    rows[7][column] = f"{rows[7][column]}{control}more"
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(DataError, match=rf"1 of 20 .* a text holds the control character {CONTROLS[control]}"):
        read(host, tmp_path)
    examples, reasons, _account = read(host, tmp_path, limit=0.1)
    assert len(examples) == 19
    assert list(reasons.values()) == [1]


def test_tabs_line_ends_and_page_breaks_are_text(host, tmp_path):
    rows = [{"question": f"a{i}\tb\r\nc", "answer": "page\fpage\vend"} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    assert len(read(host, tmp_path)[0]) == 3
