"""What a spec maps needs no code: roles take columns, paths and lists; labels, wrappers, dialects and tables are read."""

import gzip
import json

import pytest
from preparing import file_of, spec_of

from medtune import DataSpec
from medtune.data.examples import training_examples, validation_pool
from medtune.data.prepare import prepare, validation_examples
from medtune.data.quarantine import Quarantine
from medtune.data.rows import read_rows
from medtune.data.sources.csv_dialect import Dialect, find_dialect
from medtune.data.sources.reading import Reading
from medtune.errors import DataError, SpecError
from medtune.specfile import apply_overrides, validate_spec
from medtune.specs import RunSpec

ROWS = [{"instruction": f"Dose {i}?", "input": "", "output": f"Give {i}, daily."} for i in range(10)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


def turns(rows, host, *overrides):
    """Return question and answer of each row under the spec that overrides give, as a shell would."""
    spec = validate_spec(apply_overrides({"data": {"source": "rows"}}, overrides)).data
    rows, spec = (None, spec.model_copy_with(source=rows)) if isinstance(rows, str) else (rows, spec)
    examples = training_examples(spec, host, Quarantine(None, 0.0), 0, rows=rows)
    return [tuple(m["content"] for m in e.messages) for e in examples]


def test_roles_take_columns_paths_and_several_columns(host):
    row = {"Q": "Which?", "case": {"note": [{"text": "First."}, {"text": "Second."}]}, "more": "Third.", "A": "That."}
    mapped = ("data.columns.question=Q", "data.columns.context=case.note.text,more", "data.columns.answer=A")
    assert turns([row], host, *mapped) == [("First.\n\nSecond.\n\nThird.\n\nWhich?", "That.")]
    first = ("data.columns.question=Q", "data.columns.context=case.note.1.text", "data.columns.answer=A")
    only = ("data.columns.metadata=case,more",)
    assert turns([row], host, *first, *only) == [("Second.\n\nWhich?", "That.")]


def test_a_column_whose_name_has_a_dot_comes_before_a_path(host):
    row = {"q.text": "Which?", "q": {"text": "which?"}, "answer": "That."}
    assert turns([row], host, "data.columns.question=q.text", "data.columns.metadata=q") == [("Which?", "That.")]


def test_options_of_several_columns_become_one_list(host):
    row = {"question": "Which?", "one": "x", "two": "y", "answer": "y"}
    ((asked, answered),) = turns([row], host, "data.columns.options=one,two")
    assert asked.endswith("A. x\nB. y")
    assert answered == "###Answer: OPTION B IS CORRECT."


@pytest.mark.parametrize("names", ['["no","yes"]', '{0="no", 1="yes"}'])
@pytest.mark.parametrize("value", [1, 1.0, "1", True])
def test_labels_are_written_by_their_names(host, names, value):
    assert turns([{"text": "Fever.", "label": value}], host, f"data.labels.label={names}") == [("Fever.", "yes")]
    assert turns(
        [{"text": "Fever.", "sepsis": value}], host, "data.columns.label=sepsis", f"data.labels.sepsis={names}"
    ) == [("Fever.", "yes")]


def test_names_that_a_data_set_brings_along_are_used_wherever_it_lies(host, tmp_path):
    from datasets import ClassLabel, Dataset, Features, List, Value

    tags = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-Drug"]))})
    data = Dataset.from_list([{"tokens": ["Aspirin", "helps"], "ner_tags": [1, 0]}], features=tags)
    data.to_parquet(tmp_path / "rows.parquet")
    data.save_to_disk(tmp_path / "saved")
    for rows in (data, str(tmp_path / "rows.parquet"), str(tmp_path / "saved")):
        assert turns(rows, host)[0][1] == "Aspirin : B-Drug\nhelps : O"


def test_tables_in_memory_are_taken_for_their_rows(host):
    import pandas as pd
    import pyarrow as pa

    table = pa.Table.from_pylist(ROWS)
    wanted = [(row["instruction"], row["output"]) for row in ROWS]
    assert turns(table, host) == turns(table.to_pandas(), host) == wanted
    gaps = pd.DataFrame([{**ROWS[0], "input": None}, {**ROWS[1], "input": float("nan")}])
    assert turns(gaps, host) == wanted[:2]
    polars = pytest.importorskip("polars")
    assert turns(polars.from_arrow(table), host) == wanted


def test_a_workbook_is_read_where_openpyxl_is_installed(host, tmp_path):
    file = tmp_path / "rows.xlsx"
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in (
        ["instruction", "input", "output"],
        ["Dose?", None, "20 mg"],
        [None, None, None],
        ["Dose?", "x", "30 mg"],
    ):
        book.active.append(line)
    book.create_sheet("empty")
    book.save(file)
    assert turns(str(file), host) == [("Dose?", "20 mg"), ("Dose?\n\nx", "30 mg")]
    (tmp_path / "bad.xlsx").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="is not a whole workbook"):
        turns(str(tmp_path / "bad.xlsx"), host)


def csv_of(delimiter=",", quote='"', space="", header_space=""):
    lines = [f"{delimiter}{header_space}".join(["instruction", "input", "output"])]
    lines += [f"{delimiter}{space}".join(f"{quote}{v}{quote}" for v in row.values()) for row in ROWS]
    return "\n".join(lines) + "\n"


DIALECTS = {
    "semicolons": csv_of(";", quote=""),
    "tabs": csv_of("\t", quote=""),
    "pipes": csv_of("|", quote=""),
    "quoted semicolons": csv_of(";"),
    "spaces before quotes": csv_of(space=" "),
    "backslashes before quotes": csv_of().replace("Dose", '\\"Dose\\"'),
    "plain": csv_of(),
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_csv_is_read_as_spreadsheets_write_it_and_the_dialect_is_said(tmp_path, host, name, encoding):
    (tmp_path / "rows.csv").write_text(DIALECTS[name], encoding)
    reading = Reading()
    found = [values for values, *_place in read_rows(str(tmp_path / "rows.csv"), reading=reading)]
    assert [{k: v.replace('"', "") for k, v in row.items()} for row in found] == ROWS
    assert bool(reading.notes.dialects) == (name != "plain" or encoding != "utf-8")


def test_tsv_files_header_names_with_spaces_and_a_named_delimiter_are_read(tmp_path, host):
    (tmp_path / "rows.tsv").write_text(csv_of("\t", quote=""))
    assert len(turns(str(tmp_path / "rows.tsv"), host)) == 10
    (tmp_path / "spaced.csv").write_text("instruction, output\nDose?, 20 mg\n")
    assert turns(str(tmp_path / "spaced.csv"), host) == [("Dose?", "20 mg")]
    (tmp_path / "stars.csv").write_text("instruction*output\nDose?*20 mg\n")
    assert turns(str(tmp_path / "stars.csv"), host, "data.delimiter=*") == [("Dose?", "20 mg")]
    assert DataSpec(delimiter="tab").delimiter == "\t"
    with pytest.raises(SpecError, match=r"data\.delimiter.*one character, or one of comma, semicolon, tab"):
        validate_spec({"data": {"delimiter": "tabs"}})


def test_commas_are_kept_where_they_separate_even_if_rows_are_broken():
    assert find_dialect("a,b\n1;2;3,4\n1;2;3,5\n") == Dialect()
    assert find_dialect("a,b\n1,2,3\n") == Dialect()
    assert find_dialect('messages\n"[{""a"": 1}, {""b"": 2}]"\n') == Dialect()
    assert find_dialect('a;b\n"x, y";z\n') == Dialect(";")
    assert find_dialect('a,b\n1,"never closed\n', cut=True) == Dialect()


def test_other_encodings_are_read_on_request_and_named_where_they_are_missing(tmp_path, host):
    file = tmp_path / "rows.csv"
    file.write_bytes("instruction,output\nDose für x?,20 mg\n".encode("cp1252"))
    assert turns(str(file), host, "data.encoding=cp1252") == [("Dose für x?", "20 mg")]
    with pytest.raises(DataError, match=r"not UTF-8 text \(data\.encoding takes"):
        turns(str(file), host)
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(
        gzip.compress(json.dumps({"instruction": "für", "output": "x"}, ensure_ascii=False).encode("latin-1"))
    )
    assert turns(str(packed), host, "data.encoding=latin-1") == [("für", "x")]
    with pytest.raises(SpecError, match="it names no encoding"):
        validate_spec({"data": {"encoding": "windows"}})


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["rows.json", "rows.json.gz"])
def test_rows_inside_a_wrapper_are_read_by_their_path(tmp_path, host, indent, name):
    wrapped = {"version": "1.0", "note": {"data": [1]}, "set": {"skipped": [{}], "data": ROWS, "after": 3}}
    text = json.dumps(wrapped, indent=indent).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert len(turns(str(tmp_path / name), host, "data.field=set.data")) == 10
    with pytest.raises(DataError, match=r"has no 'rows' to lead to data\.field 'set\.rows'"):
        turns(str(tmp_path / name), host, "data.field=set.rows")
    with pytest.raises(DataError, match=r"has 'note', 'set', 'version'|fits the columns 'note', 'set', 'version'"):
        turns(str(tmp_path / name), host)


def test_a_wrapper_whose_only_list_of_objects_is_the_rows_is_named_in_the_refusal(tmp_path, host):
    for indent in (None, 1):
        (tmp_path / "rows.json").write_text(json.dumps({"version": 1, "data": ROWS}, indent=indent))
        with pytest.raises(DataError, match=r"set data\.field=data"):
            turns(str(tmp_path / "rows.json"), host)


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_by_id_and_columns_of_values_are_read_as_rows(tmp_path, host, indent):
    by_id = {f"p{i}": row for i, row in enumerate(ROWS)}
    columns = {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]}
    for number, content in enumerate((by_id, columns)):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(content, indent=indent))
        assert turns(str(file), host) == [(row["instruction"], row["output"]) for row in ROWS]
    assert len(turns(str(tmp_path / "0.json"), host, "data.field=*")) == 10


def test_lines_that_wrap_a_row_are_read_by_the_same_path(tmp_path, host):
    for name in ("rows.jsonl", "rows.json"):
        source = file_of(tmp_path, [{"meta": 1, "row": row} for row in ROWS], name)
        assert len(turns(source, host, "data.field=row")) == 10
    (tmp_path / "rows.csv").write_text(csv_of())
    with pytest.raises(DataError, match=r"data\.field 'row' leads into JSON"):
        turns(str(tmp_path / "rows.csv"), host, "data.field=row")


def test_turns_that_a_table_keeps_as_text_are_parsed_and_json_answers_are_not(host):
    written = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    assert turns([{"messages": written}], host) == [("Hi", "Hello")]
    assert turns([{"prompt": "Extract.", "completion": '{"drug": "x"}'}], host) == [("Extract.", '{"drug": "x"}')]


@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        (["Instruction", "Response"], "data.columns.instruction=Instruction --set data.columns.output=Response"),
        (["QUESTION", "CONTEXTS", "final_decision"], "PubMedQA's own release: medtune import"),
        (["prompt", "response"], "data.columns.output=response"),
        (["dialog"], "data.columns.messages=dialog"),
        (["annotations", "data", "id"], "medtune import"),
        (["documents", "key"], "medtune import"),
        (["what", "ever"], "data.columns.question=COLUMN"),
    ],
)
def test_a_refusal_names_the_mapping_for_columns_that_are_called_otherwise(host, columns, advice):
    with pytest.raises(DataError, match="no formatter fits the columns") as refused:
        turns([dict.fromkeys(columns, "x")], host)
    assert advice in str(refused.value)


def test_each_source_has_at_least_one_row_held_out_and_it_is_not_trained_on(host):
    rows = [{**row, "source": f"s{i}", "instruction": f"{i} {row['instruction']}"} for i in range(10) for row in ROWS]
    rows.append({"instruction": "alone", "output": "x", "source": "single"})
    spec = DataSpec(source="rows", validation_fraction=0.02)
    spared = set()
    held = list(validation_pool(spec, host, Quarantine(None, 0.0), 0, rows=rows, spared=spared))
    assert {e.source for e in held} == {f"s{i}" for i in range(10)}
    learned = list(training_examples(spec, host, Quarantine(None, 0.0), 0, rows=rows, part="learned"))
    assert not {e.row_id for e in held} & {e.row_id for e in learned}
    assert len(held) + len(learned) == 101
    same = list(training_examples(spec, host, Quarantine(None, 0.0), 0, rows=rows, part=spared))
    assert same == learned
    drawn = {e.row_id for e in held} - spared  # by the draws alone, as before
    assert len(drawn) < len(held)


def test_nothing_is_held_out_of_small_sources_when_nothing_shall_be(host):
    spec = DataSpec(source="rows", validation_fraction=0.0)
    assert list(validation_pool(spec, host, Quarantine(None, 0.0), 0, rows=ROWS)) == []


def test_validation_rows_are_held_to_the_limits_of_training_rows(host, tokenizer, tmp_path):
    train = file_of(tmp_path, ROWS, "train.jsonl")
    unlabelled = file_of(tmp_path, [{**row, "output": None} for row in ROWS], "unlabelled.jsonl")
    with pytest.raises(DataError, match=r"10 of 10 validation rows are malformed.*unlabelled\.jsonl:1"):
        prepare(spec_of(train, validation=unlabelled), host, tokenizer)
    long = file_of(tmp_path, [{**row, "input": "word " * 300} for row in ROWS], "long.jsonl")
    with pytest.raises(DataError, match=r"max_length 256 is less than the length of 10 of 10 validation rows"):
        prepare(spec_of(train, validation=long, max_length=256, accept_loss=False), host, tokenizer)
    unread = file_of(
        tmp_path, [{**row, "history": f"a long {i} history of it"} for i, row in enumerate(ROWS)], "unread.jsonl"
    )
    with pytest.raises(
        DataError, match=r"of the text of the validation rows of .*unread.jsonl' is read by nothing: 'history'"
    ):
        prepare(spec_of(train, validation=unread), host, tokenizer)


def test_what_became_of_validation_rows_is_counted_and_sources_without_any_are_named(host, tokenizer, tmp_path):
    train = file_of(tmp_path, [{**row, "source": f"s{i % 2}"} for i, row in enumerate(ROWS)], "train.jsonl")
    scored = [{**row, "source": "s0"} for row in ROWS]
    validation = file_of(tmp_path, [*scored, scored[0], {**scored[0], "output": None}], "validation.jsonl")
    spec = spec_of(train, validation=validation, max_quarantined=0.2, accept_overlap=True)
    report = prepare(spec, host, tokenizer).report
    found = report.validation
    assert (found["rows"], found["drawn"], found["quarantined"]) == (11, 11, 1)
    assert sum(each["repeated"] for each in report.duplicates["validation"].values()) == 1
    assert found["unscored_sources"] == ["s1"]


def test_the_rows_to_score_on_are_capped_where_there_are_hundreds_of_sources(host, tokenizer):
    rows = [{**ROWS[0], "instruction": f"{i}", "source": f"s{i % 300}"} for i in range(3000)]
    spec = spec_of(validation_fraction=0.5)
    spec = RunSpec(data=spec.data, train=spec.train, eval={"rows_per_source": 2})
    assert len(validation_examples(spec, host, rows=rows)) == 100
    report = prepare(spec, host, tokenizer, rows=rows).report
    assert report.validation["capped"]
    assert len(report.validation["sources"]) == 100
