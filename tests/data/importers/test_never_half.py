"""What a reader does not understand it reads as a whole, in the scheme that it names, or refuses: never half of it."""

import json

import pytest

from medtune.data.importers.importing import import_file
from medtune.data.importers.reading import Input
from medtune.errors import DataError


def imported(path, content, encoding="utf-8"):
    """Write a file, and return the report and rows of its import."""
    path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    target = path.with_name("out.jsonl")
    report = import_file(Input(path), target)
    return report, [json.loads(line) for line in target.read_text("utf-8").splitlines()]


def columns(sentences, *, between=()):
    """Return sentences of (token, tag) as lines of columns, others between token and tag."""
    lines = ["\n".join("\t".join((token, *between, tag)) for token, tag in sentence) for sentence in sentences]
    return "\n\n".join(lines) + "\n"


LONG = [(word, "O") for word in ["He", "came", "to", "the", "ward", "on", "foot", "and", "said", "that", "he", "had"]]
GOUT = [*LONG, ("severe", "Disease"), ("gout", "Disease"), ("and", "O"), ("pain", "Symptom"), (".", "O")]
WELL = [("She", "O"), ("is", "O"), ("well", "O")]


@pytest.mark.parametrize("padding", [0, 20])
@pytest.mark.parametrize("between", [(), ("NN", "B-NP")])
def test_types_without_a_prefix_are_read_as_io(tmp_path, padding, between):
    content = columns([GOUT, *[LONG] * padding, WELL], between=between)
    report, rows = imported(tmp_path / "r.conll", content)
    assert (report.scheme, report.left_out, report.labelled, len(rows)) == ("IO", {}, 2, padding + 2)
    assert "severe : B-Disease\ngout : I-Disease\nand : O\npain : B-Symptom" in rows[0]["output"]


def test_a_file_whose_later_tags_are_in_no_scheme_is_refused_with_the_schemes(tmp_path):
    first = [[("He", "O"), ("has", "O"), ("gout", "B-Disease")], *[LONG] * 500]
    odd = [[("He", "O"), ("has", "O"), ("pain", "SYMPTOM")]] * 5
    with pytest.raises(DataError, match=r"5 sentences with a tag that is none of.*IOB1, IOB2, BIOES, or types without"):
        imported(tmp_path / "r.conll", columns([*first, *odd]))
    assert not (tmp_path / "out.jsonl").exists()


def test_a_table_of_few_words_is_no_file_of_tags(tmp_path):
    lines = "".join(f"{i}\tward {i % 3}\t{'yes' if i % 2 else 'no'}\n" for i in range(40))
    with pytest.raises(DataError, match="none of the formats"):
        imported(tmp_path / "r.txt", lines)


BIOC = """<?xml version='1.0' encoding="{}" standalone='yes'?>
<collection><source/><date/><key/><document><id>1</id><passage><offset>0</offset><text>Früh hat er Gicht.</text>
<annotation id="T1"><infon key="type">Disease</infon><location offset="12" length="5"/><text>Gicht</text></annotation>
</passage></document></collection>"""


@pytest.mark.parametrize(
    ("declared", "written"),
    [("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("UTF-16", "utf-16"), ("UTF-16", "utf-16-le"),
     ("UTF-16", "utf-16-be"), ("UTF-8", "utf-8-sig")],
)  # fmt: skip
def test_xml_is_recognised_in_the_encoding_that_it_declares(tmp_path, declared, written):
    report, rows = imported(tmp_path / "r.xml", BIOC.format(declared), written)
    assert (report.format, report.labelled, rows[0]["input"]) == ("bioc-xml", 1, "Früh hat er Gicht .")


def task(number, *, named=True, unmarked=None):
    """Return a task of Label Studio in which two texts are marked."""
    texts = {"text": f"Patient {number} has gout.", "history": f"Visit {number}: there was an early sepsis found."}
    results = []
    for field, (column, word) in enumerate([("text", "gout"), ("history", "sepsis")]):
        at = texts[column].index(word)
        value = {"start": at, "end": at + len(word), "text": word, "labels": ["Disease"]}
        to = {"to_name": column if named else f"field{field}"}
        results.append({"id": word, "type": "labels", "from_name": "label", **to, "value": value})
    more = {} if unmarked is None else {"plan": unmarked}
    return {"id": number, "data": {**texts, **more}, "annotations": [{"result": results}]}


@pytest.mark.parametrize("named", [True, False])
def test_both_texts_of_a_task_are_read_with_their_marks(tmp_path, named):
    report, rows = imported(tmp_path / "r.json", json.dumps([task(n, named=named) for n in range(5)]))
    assert (report.mentions, report.labelled, report.left_out, len(rows)) == (10, 10, {}, 10)
    assert all("B-Disease" in row["output"] for row in rows)


def test_a_text_beside_the_marked_ones_is_counted(tmp_path):
    report, _rows = imported(
        tmp_path / "r.json", json.dumps([task(n, unmarked="He shall come again soon.") for n in range(5)])
    )
    assert report.left_out == {"texts beside the one that was marked": 5}


def medqa(**values):
    return {"question": "Which?", "options": {"A": "gout", "B": "asthma", "C": "sepsis"}, "answer_idx": "B", **values}


@pytest.mark.parametrize(
    ("answer", "letters"), [("AC", "A, C"), ("A, B", "A, B"), ("b", "B"), ("a and c", None), ("sepsis", "C")]
)
def test_answers_of_several_letters_are_no_missing_ones(tmp_path, answer, letters):
    rows = [medqa(), medqa(answer_idx=answer)]
    report, read = imported(tmp_path / "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if letters is None:
        assert report.left_out == {"questions whose answer names none of their options": 1}
    else:
        assert report.left_out == {}
        assert (
            read[1]["output"].removeprefix("###Answer: ").removeprefix("OPTION ").removesuffix(" IS CORRECT.")
            == letters
        )


def test_the_explanation_is_taken_over_and_columns_that_are_not_are_counted(tmp_path):
    rows = [medqa(explanation="For it wheezes.", meta_info="step1"), medqa(answer_idx=None)]
    report, read = imported(tmp_path / "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read[0]["output"] == "###Rationale: For it wheezes.\n\n###Answer: OPTION B IS CORRECT."
    assert report.left_out == {"values of 'meta_info'": 1, "questions without options or an answer": 1}
