"""A spec made from a file alone trains as it is, says what it rests on, and names the import where one is needed."""

import json
import os
import stat
import tomllib
from pathlib import Path

import pytest
from init_files import FILES, WORDS, jsonl, medmcqa, notes

from medtune import MedTuner
from medtune.cli.app import run
from medtune.data.examples import training_examples, validation_pool
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError, SpecError, StorageError
from medtune.specs import DataSpec
from medtune.workflow.found_rows import find_rows
from medtune.workflow.new_spec import Wish, new_spec

MARKED = Path(__file__).parents[1] / "data" / "importers" / "files"
HERE = Wish(None, None, "starling-medtuned")
QUICK = ("eval.enabled=false", "data.cache=false")


def trained(spec, steps):
    return MedTuner.from_file(spec, [*QUICK, f"train.max_steps={steps}"]).train()


@pytest.mark.parametrize("write", [notes, pytest.param(medmcqa, marks=pytest.mark.proof)])
def test_a_spec_from_a_file_alone_trains_as_it_is(write, tmp_path):
    file = write(tmp_path)
    written = new_spec(file, tmp_path / "run.toml", HERE)
    assert written.measured
    assert trained(written.path, 2).metrics["steps"] == 2
    lengths = MedTuner.from_file(written.path).plan().data
    assert lengths["lost_rows"] == 0
    assert lengths["needed"]["100"] <= written.max_length < lengths["needed"]["100"] + 64


@pytest.mark.proof
@pytest.mark.parametrize("kind", FILES)
def test_twenty_steps_are_trained_on_each_kind_of_file_without_an_edit(kind, tmp_path):
    written = new_spec(FILES[kind](tmp_path), tmp_path / "run.toml", HERE)
    run_ = trained(written.path, 20)
    print(kind, written.found.rows, dict(written.found.tasks), written.max_length, run_.metrics["train_loss"])
    assert run_.metrics["steps"] == 20


@pytest.fixture(scope="module")
def host():
    return MedTuner.from_defaults().host


def test_what_the_rows_are_is_found(tmp_path, host):
    found = find_rows(notes(tmp_path), host)
    assert (found.rows, dict(found.tasks), dict(found.sources)) == (40, {"ner": 40}, {"notes": 40})
    if "document" in DataSpec.model_fields:
        assert found.data["document"] == "document"
    else:
        assert any("document" in note for note in found.notes)


def test_validation_rows_in_the_folder_or_beside_the_file_are_scored_on(tmp_path, host):
    assert find_rows(FILES["folder"](tmp_path), host).data["validation"] == "validation"
    assert find_rows(FILES["beside"](tmp_path), host).data["validation"] == str(tmp_path / "dev.jsonl")
    assert "validation" not in find_rows(FILES["csv"](tmp_path), host).data


@pytest.mark.parametrize(
    "name", ["brat_rich", "conll2003.txt", "doccano_old.json", "pubtator.txt", "bioc_passages.xml"]
)
def test_a_file_with_marks_is_refused_with_the_command_that_imports_it(name, host):
    with pytest.raises(DataError, match=rf"`medtune import \S*{name} --to \S+-rows.jsonl`, then `medtune init"):
        find_rows(MARKED / name, host)


def test_a_file_that_nobody_can_read_is_refused_by_its_columns(tmp_path, host):
    file = jsonl(tmp_path / "odd.jsonl", [{"alpha": "a", "beta": "b"}] * 3)
    with pytest.raises(DataError, match="alpha"):
        find_rows(file, host)
    with pytest.raises(StorageError, match="no such file"):
        find_rows(tmp_path / "none.jsonl", host)


def test_roles_are_guessed_by_whole_words_and_identifiers_are_no_texts():
    from medtune.workflow.guessed_roles import guessed_roles

    def guessed(columns):
        return guessed_roles(columns, [])[0]

    assert guessed(["user_id", "Patient Question", "Final Answer"]) == {
        "question": "Patient Question",
        "answer": "Final Answer",
    }
    assert guessed(["Prompt", "response", "label"]) == {"question": "Prompt", "answer": "response"}
    assert guessed(["inputs", "labels", "user_id"]) == {}


def test_a_gpu_is_sized_for_and_a_base_taken_as_named(tmp_path):
    file = medmcqa(tmp_path)
    written = new_spec(file, tmp_path / "gpu.toml", Wish("rtx4090", None, "starling-medtuned"))
    values = tomllib.loads(written.path.read_text("utf-8"))
    assert (values["bundle"], values["quant"]["scheme"]) == ("starling-medtuned", "auto")
    assert not written.measured
    assert MedTuner.from_file(written.path).plan("rtx4090").fits
    written = new_spec(file, tmp_path / "base.toml", Wish("24GiB", "org/base", "starling-medtuned"))
    values = tomllib.loads(written.path.read_text("utf-8"))
    assert "bundle" not in values
    assert MedTuner.from_file(written.path).spec.model.name == "org/base"


def test_the_command_writes_beside_the_file_once_for_its_owner_only(tmp_path, capsys):
    file = tmp_path / 'a "quoted" name.jsonl'
    medmcqa(tmp_path).rename(file)
    assert run(["init", str(file), "--gpu", "24GiB", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tasks"] == {"qa": 40}
    spec = tmp_path / "run.toml"
    assert tomllib.loads(spec.read_text("utf-8"))["data"]["source"] == str(file)
    assert stat.S_IMODE(spec.stat().st_mode) == 0o600
    assert run(["init", str(file)]) == SpecError.exit_code
    assert "is there already" in capsys.readouterr().err


def split_file(folder):
    rows = [{"question": f"Is {w} number {i} rare?", "answer": w} for i, w in enumerate(WORDS * 5)]
    path = folder / "split.json"
    parts = {
        "about": [{"made": "today"}],
        "train": rows[:32],
        "dev": [{"question": f"Does {w} hurt?", "answer": "no"} for w in WORDS],
    }
    path.write_text(json.dumps(parts))
    return path


def test_the_array_of_validation_rows_is_scored_on_and_others_are_named(tmp_path, host):
    found = find_rows(split_file(tmp_path), host)
    assert (found.rows, found.data["field"], found.data["validation"]) == (32, "train", "dev")
    assert found.left_out == {"about": "1 rows beside those that are read"}
    spec = DataSpec.model_validate(found.data)
    ids = {e.row_id for e in validation_pool(spec, host, Quarantine(None, 0.0), 0)}
    assert len(ids) == 8
    assert not ids & {e.row_id for e in training_examples(spec, host, Quarantine(None, 0.0), 0)}


def test_files_of_a_folder_and_columns_that_the_spec_does_not_read_are_named_everywhere(tmp_path, host, capsys):
    folder = FILES["folder"](tmp_path)
    extra = [{"prompt": f"Spell {w}.", "completion": w, "why": f"Because {w} is number {i} of them.", "ward": "intensive"}
             for i, w in enumerate(WORDS * 5)]  # fmt: skip
    jsonl(folder / "train.jsonl", extra)
    jsonl(folder / "holdout.jsonl", extra)
    found = find_rows(folder, host)
    assert found.left_out == {"holdout.jsonl": "named by no split, and others are"}
    assert found.data["columns"] == {"metadata": ["why"]}
    assert found.unread == {"why": "metadata", "ward": "label, unread"}
    assert run(["init", str(folder)]) == 0
    shown = capsys.readouterr()
    for text in (shown.out, shown.err, (folder / "run.toml").read_text()):
        assert "holdout.jsonl" in text
        assert "columns that nothing reads: " in text
        assert "why (metadata)" in text
        assert "ward (label, unread)" in text
    MedTuner.from_file(folder / "run.toml").check()
    (folder / "run.toml").unlink()
    assert run(["init", str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["left_out"], report["unread_columns"]) == (found.left_out, found.unread)


@pytest.mark.parametrize("first", [0, 1])
def test_options_that_are_named_by_number_are_mapped_to_letters(tmp_path, host, first):
    rows = [{"question": f"Which {i}?", "options": list(WORDS[:4]), "answer": first + i % 4} for i in range(40)]
    file = jsonl(tmp_path / "rows.jsonl", rows)
    written = new_spec(file, tmp_path / "run.toml", Wish(None, None, "demo"), host)
    values = tomllib.loads(written.path.read_text("utf-8"))
    assert values["data"]["labels"] == {"answer": {str(first + n): letter for n, letter in enumerate("ABCD")}}


def test_a_text_and_its_summary_are_prompt_and_completion(tmp_path, host):
    rows = [{"text": f"He came with {w}, for the {i}th time, and left.", "summary": f"He had {w} as number {i} of many."}
            for i, w in enumerate(WORDS * 5)]  # fmt: skip
    found = find_rows(jsonl(tmp_path / "rows.jsonl", rows), host)
    assert found.data["columns"] == {"prompt": "text", "completion": "summary"}


def test_validation_rows_that_are_all_trained_on_are_not_scored_on(tmp_path, host):
    rows = [{"question": f"Is {w} number {i} rare?", "answer": w} for i, w in enumerate(WORDS * 5)]
    jsonl(tmp_path / "dev.jsonl", rows[:8])
    written = new_spec(jsonl(tmp_path / "train.jsonl", rows), tmp_path / "run.toml", Wish(None, None, "demo"), host)
    values = tomllib.loads(written.path.read_text("utf-8"))
    assert "validation" not in values["data"]
    assert "each of 8 rows drawn from it is trained on as well" in written.path.read_text("utf-8")


def test_validation_rows_of_another_shape_are_named_and_not_scored_on(tmp_path, host):
    jsonl(tmp_path / "dev.jsonl", [{"alpha": "x"}] * 3)
    rows = [{"question": f"Is {w} number {i} rare?", "answer": w} for i, w in enumerate(WORDS * 5)]
    found = find_rows(jsonl(tmp_path / "train.jsonl", rows), host)
    assert "validation" not in found.data
    assert any("dev.jsonl is no validation set of these rows" in note for note in found.notes)


def test_pubmedqa_s_own_release_is_imported_and_not_mapped(tmp_path, host):
    row = {"QUESTION": "Does iron help?", "CONTEXTS": ["It was given.", "They improved."], "final_decision": "yes"}
    (tmp_path / "ori.json").write_text(json.dumps({str(n): row for n in range(20)}))
    with pytest.raises(DataError, match="is PubMedQA, which is imported first"):
        find_rows(tmp_path / "ori.json", host)


def test_the_folder_one_stands_in_is_read_or_refused_by_its_name(tmp_path, host, monkeypatch):
    notes(tmp_path)
    monkeypatch.chdir(tmp_path / "notes")
    with pytest.raises(DataError, match=rf"--to {tmp_path}/notes-rows.jsonl`, then"):
        find_rows(Path(), host)
    assert run(["init", "."]) == DataError.exit_code
    (tmp_path / "sets").mkdir()
    medmcqa(tmp_path / "sets")
    monkeypatch.chdir(tmp_path / "sets")
    assert run(["init", "."]) == 0
    values = tomllib.loads((tmp_path / "sets" / "run.toml").read_text("utf-8"))
    assert (values["data"]["source"], values["output_dir"]) == (str(tmp_path / "sets"), str(tmp_path / "sets-run"))


@pytest.mark.parametrize("name", ["pipe", "pipe.jsonl"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name, capsys):
    os.mkfifo(tmp_path / name)
    for command in (["init"], ["import", "--to", str(tmp_path / "to.jsonl")],
                    ["import", "--format", "doccano", "--to", str(tmp_path / "to.jsonl")]):  # fmt: skip
        assert run([*command, str(tmp_path / name)]) == StorageError.exit_code
        assert "is a pipe or device" in capsys.readouterr().err


def arc(number, key="answerKey", **more):
    choices = {"text": [f"{w} {number}" for w in WORDS[:4]], "label": list("ABCD")}
    return {
        "id": f"x{number}",
        "question": f"Which is number {number}?",
        "choices": choices,
        key: "ABCD"[number % 4],
        **more,
    }


def test_options_beside_their_letters_are_options_and_the_key_is_the_answer(tmp_path, host):
    for key in ("answerKey", "answer_key", "answer"):
        found = find_rows(jsonl(tmp_path / f"{key}.jsonl", [arc(i, key) for i in range(40)]), host)
        assert found.data.get("columns", {}).get("answer", "answer") == key
        examples = list(training_examples(DataSpec.model_validate(found.data), host, Quarantine(None, 0.0), 0))
        assert examples[1].messages[-1]["content"] == "###Answer: OPTION B IS CORRECT."
        assert "B. asthma 1" in examples[1].messages[0]["content"]


@pytest.mark.parametrize("odd", [{"answerKey": "E"}, {"answerKey": None}, {"choices": {"text": ["2", "4"], "label": ["1", "2"]}, "answerKey": "2"}])  # fmt: skip
def test_a_key_that_names_no_letter_of_the_options_is_not_guessed(tmp_path, host, odd):
    with pytest.raises(DataError):
        find_rows(jsonl(tmp_path / "odd.jsonl", [arc(i) | odd for i in range(40)]), host)


def test_lines_that_repeat_the_header_are_told_in_the_spec(tmp_path, host):
    rows = [f"Is {w} {i} rare?,yes\n" for i, w in enumerate(WORDS * 5)]
    (tmp_path / "rows.csv").write_text("question,answer\n" + "question,answer\n".join(rows))
    written = new_spec(tmp_path / "rows.csv", tmp_path / "run.toml", Wish(None, None, "demo"), host)
    assert written.found.rows == 40
    assert "# rows.csv: left out 39 lines that repeat the header" in written.path.read_text("utf-8")
