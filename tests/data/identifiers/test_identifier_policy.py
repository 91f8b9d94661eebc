"""``data.identifiers`` counts, masks or drops before rows are formatted, and the preparation report says what it did."""

import pytest
from preparing import file_of, spec_of

from medtune.data.examples import validation_pool
from medtune.data.prepare import prepare, trained_examples
from medtune.data.quarantine import Quarantine
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
