"""``data.identifiers`` counts, masks or drops before rows are formatted, and the preparation report says what it did."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from preparing import file_of, spec_of

from medtune import DataSpec
from medtune.data.examples import validation_pool
from medtune.data.identifiers.counts import IdentifierCounts
from medtune.data.identifiers.policy import apply_policy
from medtune.data.identifiers.row_values import find_in_row
from medtune.data.prepare import prepare, trained_examples
from medtune.data.quarantine import Quarantine
from medtune.data.rows import Row
from medtune.errors import DataError

ROWS = [
    {
        "instruction": "Summarise.",
        "input": f"Seen by Dr. Quillfeather, bed {i}." if i % 4 == 0 else f"No fever in bed {i}.",
        "output": f"Bed {i}.",
    }
    for i in range(40)
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


def texts(spec, host, prepared):
    return "\n".join(m["content"] for e in trained_examples(spec, host, prepared.rows) for m in e.messages)


def prepared_with(policy, tmp_path, host, tokenizer, **data):
    spec = spec_of(file_of(tmp_path, ROWS), identifiers=policy, validation_fraction=0.1, **data)
    return spec, prepare(spec, host, tokenizer)


def test_nobody_looks_unless_asked(tmp_path, host, tokenizer):
    _spec, prepared = prepared_with("off", tmp_path, host, tokenizer)
    assert prepared.report.identifiers == {}


def test_count_says_what_there_is_and_changes_nothing(tmp_path, host, tokenizer):
    spec, prepared = prepared_with("count", tmp_path, host, tokenizer)
    found = prepared.report.identifiers
    assert (found["policy"], found["rows"], found["rows_found"], found["kinds"]) == ("count", 40, 10, {"name": 10})
    assert "Quillfeather" in texts(spec, host, prepared)
    assert any("10 of 40 rows hold some" in note for note in prepared.report.notes())
    assert prepared.report.summary()["identifiers"] == found


def test_mask_reaches_training_and_validation_rows(tmp_path, host, tokenizer):
    spec, prepared = prepared_with("mask", tmp_path, host, tokenizer)
    assert "Quillfeather" not in texts(spec, host, prepared)
    assert "Dr. [NAME]" in texts(spec, host, prepared)
    pool = list(validation_pool(spec.rows, host, Quarantine(None, 1.0), spec.seed))
    assert pool
    assert all("Quillfeather" not in m["content"] for e in pool for m in e.messages)


def test_drop_leaves_rows_out_without_calling_them_malformed(tmp_path, host, tokenizer):
    spec, prepared = prepared_with("drop", tmp_path, host, tokenizer)
    assert "Quillfeather" not in texts(spec, host, prepared)
    assert prepared.report.quarantined == 0
    assert prepared.report.identifiers["rows_found"] == 10


def test_each_policy_has_a_prepared_set_of_its_own(tmp_path, host, tokenizer):
    _spec, first = prepared_with("mask", tmp_path, host, tokenizer)
    _spec, other = prepared_with("count", tmp_path, host, tokenizer)
    _spec, again = prepared_with("mask", tmp_path, host, tokenizer)
    assert [first.report.from_cache, other.report.from_cache, again.report.from_cache] == [False, False, True]
    assert again.report.identifiers == first.report.identifiers


def test_a_policy_that_leaves_nothing_says_so(tmp_path, host, tokenizer):
    rows = [{**row, "input": "Seen by Dr. Quillfeather."} for row in ROWS]
    spec = spec_of(file_of(tmp_path, rows), identifiers="drop")
    with pytest.raises(DataError, match=r"data\.identifiers=drop leaves no row"):
        prepare(spec, host, tokenizer)


def test_what_names_a_document_still_tells_documents_apart(tmp_path, host, tokenizer):
    rows = [{**row, "patient_id": 1000 + i} for i, row in enumerate(ROWS)]
    spec = spec_of(
        file_of(tmp_path, rows), identifiers="mask", document="patient_id", columns={"metadata": ["patient_id"]}
    )
    examples = trained_examples(spec, host, prepare(spec, host, tokenizer).rows)
    assert len({example.document for example in examples}) == len(examples)


def left_by(policy, values, **data):
    spec = DataSpec(source="rows.jsonl", identifiers=policy, **data)
    return next(apply_policy(iter([Row(values, "1", "rows.jsonl:1")]), spec, spec, None)).values


NOTE = "Seen today on the ward by Dr. Quillfeather for fever."


def test_a_column_that_is_named_source_and_holds_a_text_is_masked():
    left = left_by("mask", {"source": NOTE, "target": "Fever."}, columns={"input": "source", "output": "target"})
    assert "Quillfeather" not in left["source"]
    assert left_by("mask", {"source": "Mayo", "target": NOTE})["source"] == "Mayo"


def test_a_document_column_is_masked_where_it_holds_the_text_itself():
    left = left_by("mask", {"context": NOTE, "input": "a", "output": "b"}, document="context")
    assert "Quillfeather" not in left["context"]


def test_a_dotted_document_keeps_its_name():
    values = {"meta": {"patient_id": "0815-17", "mrn": "0815-17"}, "input": "a", "output": "b"}
    left = left_by("mask", values, document="meta.patient_id")
    assert left["meta"]["patient_id"] == "0815-17"
    assert left["meta"]["mrn"] != "0815-17"


def test_days_and_decimals_of_tables_are_looked_at():
    left = left_by(
        "mask", {"seen": date(1931, 4, 2), "at": datetime(2020, 1, 2, 3, tzinfo=UTC), "mrn": Decimal(4711), "dose": 1.5}
    )
    assert left == {"seen": "[DATE]", "at": "[DATE]", "mrn": "[RECORD_NUMBER]", "dose": 1.5}


def test_keys_of_objects_that_are_data_are_not_told():
    counts = IdentifierCounts()
    counts.note("rows", find_in_row({"seen": {"Anna Weber, 03.05.2021": NOTE}}))
    assert list(counts._by_source["rows"]) == [("(name looks like text)", "name")]


@pytest.mark.parametrize("policy", ["mask", "drop"])
def test_an_escaped_letter_of_json_text_hides_no_name_from_training(policy, tmp_path, host, tokenizer):
    rows = [
        {
            "messages": json.dumps(
                [{"role": "user", "content": f"{who}, bed {i}?"}, {"role": "assistant", "content": "Fever."}]
            )
        }
        for i in range(40)
        for who in ["Herr Zürnlü" if i % 4 == 0 else "No one"]
    ]
    spec = spec_of(file_of(tmp_path, rows), identifiers=policy, validation_fraction=0.1)
    prepared = prepare(spec, host, tokenizer)
    assert prepared.report.identifiers["rows_found"] == 10
    assert "Zürnlü" not in texts(spec, host, prepared)
