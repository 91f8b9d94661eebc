"""What init says can be done: its settings are taken by init itself, its commands lead to a spec, and no answer is advised into a prompt."""

import json
import re
import shlex
import tomllib

import pytest
from init_files import WORDS, jsonl

from medtune import MedTuner
from medtune.cli.app import run
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine

LONG = "A long note about the patient number {}, with more words in it than before."
MARK = {"start": 7, "end": 11}


def rows(make, count=40):
    return [make(number, WORDS[number % 8]) for number in range(count)]


def init(path, capsys, *sets):
    """Return exit code and all that is said, the spec not kept."""
    out = path.parent / "init.toml"
    out.unlink(missing_ok=True)
    code = run(["init", str(path), "--out", str(out), *(part for setting in sets for part in ("--set", setting))])
    shown = capsys.readouterr()
    return code, shown.err + shown.out


def advised(said):
    """Return the settings that a sentence names."""
    found = re.findall(r"--set ('[^']+'|\S+)|\bset (data\.field=\S+)", said)
    return [shlex.split(a or b)[0].rstrip(",;.") for a, b in found if "COLUMN" not in a + b]


REFUSED = {
    "tags by number": rows(lambda i, w: {"words": ["He", "has", w], "ner": [0, 0, 1]}),
    "text by number": rows(lambda i, w: {"text": f"{w} {i}.", "label": i % 3}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_init_takes_the_settings_that_its_refusals_name(kind, tmp_path, capsys):
    path = jsonl(tmp_path / "rows.jsonl", REFUSED[kind])
    taken, (code, said) = [], init(path, capsys)
    assert code
    for _step in range(4):
        if not code:
            break
        new = advised(said) + re.findall(r"'(data\.labels\.[^']+)'", said)
        new += ['data.labels.ner_tags={"0"="O","1"="B-D"}'] if not new and "data.labels.ner_tags" in said else []
        new += ['data.labels.label={"0"="a","1"="b","2"="c"}'] if not new and "data.labels.label" in said else []
        assert set(new) - set(taken), said
        taken += new
        code, said = init(path, capsys, *taken)
    assert not code, said
    spec = MedTuner.from_file(tmp_path / "init.toml").spec.data
    assert spec.labels


def test_a_setting_is_taken_down_in_the_spec_and_one_that_is_none_is_refused(tmp_path, capsys):
    path = jsonl(tmp_path / "rows.jsonl", rows(lambda i, w: {"question": f"Is {w} {i}?", "answer": w}))
    sets = ("train.max_steps=2", "lora.r=4", "train.max_length=128", "data.validation_fraction=0.25", "seed=7")
    code, said = init(path, capsys, *sets)
    assert not code, said
    values = tomllib.loads((tmp_path / "init.toml").read_text("utf-8"))
    assert (values["lora"]["r"], values["train"], values["seed"]) == (4, {"max_length": 128, "max_steps": 2}, 7)
    assert values["data"]["validation_fraction"] == 0.25
    assert init(path, capsys, "lora.rr=4")[0]
    assert init(path, capsys, "data.source=other.jsonl")[0]


def test_a_sheet_is_chosen_by_the_names_that_the_refusal_lists(tmp_path, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    folder = tmp_path / "books"
    folder.mkdir()
    book = openpyxl.Workbook()
    book.active.title = "notes"
    for sheet in (book.active, book.create_sheet("asked")):
        sheet.append(["question", "answer"])
        for number, word in enumerate(WORDS * 5):
            sheet.append([f"{sheet.title} {number}?", word])
    book.save(folder / "book.xlsx")
    (folder / "~$book.xlsx").write_bytes(b"owner")
    code, said = init(folder / "book.xlsx", capsys)
    assert code
    assert "'asked', 'notes'; choose one as data.field" in said
    code, said = init(folder, capsys, "data.field=asked")
    assert not code, said
    assert "not read: 'notes'" in said
    assert "~$book.xlsx (the lock file of an open workbook)" in said
    spec = MedTuner.from_file(tmp_path / "init.toml").spec
    texts = [
        e.messages[0]["content"]
        for e in training_examples(spec.data, MedTuner.from_defaults().host, Quarantine(None, 0.0), 0)
    ]
    assert texts
    assert all(text.startswith("asked") for text in texts)


TELLING = {
    "answer_de": lambda i, w: f"Es ist wohl Nummer {i}, wie man sieht.",
    "Explanation": lambda i, w: LONG.format(i),
    "rejected": lambda i, w: LONG.format(i),
    "finalOutput": lambda i, w: LONG.format(i),
    "remark": lambda i, w: f"As we saw in number {i}, this is {w} and nothing else.",
}


@pytest.mark.parametrize("column", TELLING)
def test_a_column_that_tells_the_answer_is_never_advised_into_the_prompt(column, tmp_path, capsys):
    make = TELLING[column]
    path = jsonl(
        tmp_path / "rows.jsonl", rows(lambda i, w: {"question": f"What has {i}?", "answer": w, column: make(i, w)})
    )
    code, said = init(path, capsys)
    assert not code
    assert f"context={column}" not in said
    assert tomllib.loads((tmp_path / "init.toml").read_text("utf-8"))["data"]["columns"] == {"metadata": [column]}
    assert run(["preview", "--bundle", "demo", "--set", f"data.source={path}", "--set", "data.validation=null"])
    said = capsys.readouterr().err
    assert f"context={column}" not in said
    assert f"data.columns.metadata={column}" in said


def test_a_note_that_tells_no_answer_is_still_offered_and_the_setting_works(tmp_path, capsys):
    make = lambda i, w: {"question": f"What has {i}?", "answer": w, "Patient History": LONG.format(i)}  # noqa: E731
    path = jsonl(tmp_path / "rows.jsonl", rows(make))
    code, said = init(path, capsys)
    assert not code
    setting = re.search(r"set (data\.columns\.context=Patient History)", said)
    assert setting
    code, said = init(path, capsys, setting[1])
    assert not code, said
    assert tomllib.loads((tmp_path / "init.toml").read_text("utf-8"))["data"]["columns"] == {
        "context": "Patient History"
    }
    assert "nothing reads" not in said


READ = {
    "words and tags": (lambda i, w: {"words": ["He", "has", w], "labels": ["O", "O", "B-D"]}, {"tokens": "words", "ner_tags": "labels"}),
    "sentence and iob": (lambda i, w: {"id": i, "sentence": ["He", w], "iob": ["O", "B"]}, {"tokens": "sentence", "ner_tags": "iob"}),
    "speakers": (
        lambda i, w: {"dialogue": [{"speaker": "Patient", "utterance": f"{w} {i}?"}, {"speaker": "Doctor", "utterance": w}]},
        {"messages": "dialogue"},
    ),
    "no tools": (
        lambda i, w: {"messages": [{"role": "user", "content": f"{w} {i}?"}, {"role": "assistant", "content": w}], "tools": "[]"},
        {},
    ),
    "preferences": (
        lambda i, w: {"prompt": f"{w} {i}?", "chosen": w, "rejected": LONG.format(i)},
        {"instruction": "prompt", "output": "chosen", "metadata": ["rejected"]},
    ),
    "capital names": (
        lambda i, w: {"Instruction": f"Name it {i}.", "Input": LONG.format(i), "Output": w},
        {"instruction": "Instruction", "input": "Input", "output": "Output"},
    ),
    "a source per row": (lambda i, w: {"question": f"{w} {i}?", "answer": w, "source": f"http://x/{i}"}, {"metadata": ["source"]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_columns_under_other_names_are_read_by_what_stands_in_them(kind, tmp_path, capsys):
    make, columns = READ[kind]
    code, said = init(jsonl(tmp_path / "rows.jsonl", rows(make, 80)), capsys)
    assert not code, said
    assert tomllib.loads((tmp_path / "init.toml").read_text("utf-8"))["data"].get("columns", {}) == columns


def squad(i, w):
    qas = [{"question": f"What has {i}?", "answers": [{"text": w, "answer_start": 7}]}]
    return {"title": f"t{i}", "paragraphs": [{"context": f"He has {w}.", "qas": qas}]}


def classified(i, w):
    result = [{"type": "choices", "value": {"choices": [w]}}]
    return {"id": i, "data": {"text": f"He has {w} {i}."}, "annotations": [{"result": result}]}


IMPORTED = {
    "spans with a label": rows(lambda i, w: {"text": "He has gout.", "entities": [{**MARK, "label": "D"}]}),
    "spans with a type": rows(lambda i, w: {"text": "He has gout.", "spans": [{**MARK, "type": "D", "text": "gout"}]}),
    "classes in Label Studio": rows(classified),
    "SQuAD": {"version": "1", "data": rows(squad)},
    "some empty lists": rows(lambda i, w: {"text": "He has gout.", "label": [[7, 11, "D"]] if i > 30 else []}),
    "options that are null": rows(
        lambda i, w: {"question": f"{i}?", "options": None if i % 4 else {"A": w, "B": "flu"}, "answer_idx": "A"}
    ),
}


@pytest.mark.parametrize("kind", IMPORTED)
def test_a_refusal_that_names_an_import_ends_in_rows(kind, tmp_path, capsys):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(IMPORTED[kind]))
    code, said = init(path, capsys)
    assert code
    commands = re.findall(r"`medtune ([^`]+)`", said)
    assert [command.split()[0] for command in commands] == ["import", "init"]
    for command in commands:
        assert run(shlex.split(command)) == 0, capsys.readouterr().err


NEITHER = {
    "empty lists alone": rows(lambda i, w: {"text": f"He has {w} {i}.", "label": []}),
    "no tools but some": rows(lambda i, w: {"messages": [{"role": "user", "content": w}], "tools": [{"name": "x"}]}),
}


@pytest.mark.parametrize("kind", NEITHER)
def test_what_neither_can_read_is_not_sent_to_the_other(kind, tmp_path, capsys):
    path = jsonl(tmp_path / "rows.jsonl", NEITHER[kind])
    assert "medtune import" not in init(path, capsys)[1]


def test_marks_in_a_table_are_refused_with_the_export_that_can_be_imported(tmp_path, capsys):
    spans = json.dumps([{**MARK, "labels": ["D"]}]).replace('"', '""')
    (tmp_path / "marks.csv").write_text("text,label\n" + f'He has gout.,"{spans}"\n' * 40)
    code, said = init(tmp_path / "marks.csv", capsys)
    assert code
    assert "export them as JSON for medtune import" in said


def test_a_map_of_a_parquet_file_is_read_as_an_object(tmp_path, capsys):
    import pyarrow as pa
    from pyarrow import parquet

    options = pa.array([list(zip("ABCD", WORDS, strict=False))] * 40, type=pa.map_(pa.string(), pa.string()))
    table = {"question": [f"Which {i}?" for i in range(40)], "options": options, "answer_idx": list("ABCD" * 10)}
    parquet.write_table(pa.table(table), tmp_path / "rows.parquet")
    code, said = init(tmp_path / "rows.parquet", capsys)
    assert not code, said
