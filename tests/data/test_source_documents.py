"""The table of a source names the column of its documents, for training, validation and scores alike."""

import pytest

from medtune.data.examples import training_examples
from medtune.data.prepare import validation_examples
from medtune.data.quarantine import Quarantine
from medtune.plugins.host import create_host
from medtune.specs import DataSpec, RunSpec

LETTERS = [
    {
        "instruction": "Answer .",
        "input": f"letter {i}",
        "output": "yes",
        "source": "letters",
        "letter_id": i // 5,
        "note": "x",
    }
    for i in range(100)
]
OTHERS = [
    {"instruction": "Answer .", "input": f"other {i}", "output": "no", "source": "others", "note": i // 2}
    for i in range(40)
]
TASKS = [{"source": "letters", "kind": "decision", "document": "letter_id"}]


@pytest.fixture
def host():
    return create_host()


def spec_of(tasks=TASKS, **data):
    return RunSpec.model_validate({"data": {"source": "rows", "validation_fraction": 0.2, **data}, "tasks": tasks})


def documents(examples, source):
    return {example.row_id: example.document for example in examples if example.source == source}


def test_documents_of_a_source_are_named_by_its_table_and_those_of_the_others_by_the_data(host):
    found = validation_examples(spec_of(document="note"), host, rows=LETTERS + OTHERS)
    assert set(documents(found, "letters").values()) <= {str(i) for i in range(20)}
    assert len(set(documents(found, "letters").values())) * 5 == len(documents(found, "letters"))  # whole documents
    assert set(documents(found, "others").values()) <= {str(i) for i in range(20)}
    without = validation_examples(spec_of(), host, rows=LETTERS + OTHERS)
    assert set(documents(without, "others").values()) == {""}


def test_what_is_held_out_is_no_document_that_is_learned(host):
    spec = spec_of()
    learned, held_out = (
        {e.document for e in training_examples(spec.rows, host, Quarantine(None, 0.0), 0, rows=LETTERS, part=part)}
        for part in ("learned", "held out")
    )
    assert learned
    assert held_out
    assert learned.isdisjoint(held_out)


def test_rows_that_get_their_source_from_the_mix_have_the_documents_of_that_source(host):
    rows = [{key: value for key, value in row.items() if key != "source"} for row in LETTERS]
    spec = spec_of(name="letters")
    assert {e.document for e in training_examples(spec.rows, host, Quarantine(None, 0.0), 0, rows=rows)} == {
        str(i) for i in range(20)
    }


def test_a_row_without_the_column_of_its_source_is_set_aside_and_told(host):
    rows = [*LETTERS[:99], {**LETTERS[99], "letter_id": None}]
    quarantine = Quarantine(None, 0.5)
    examples = list(training_examples(spec_of().rows, host, quarantine, 0, rows=rows))
    assert len(examples) == 99
    ((reason, count),) = quarantine.reasons.items()
    assert count == 1
    assert reason.startswith("column 'letter_id' (data.document) is blank")


def test_without_such_a_table_rows_are_read_as_the_data_says():
    assert spec_of(tasks=[], document="note").rows == spec_of(tasks=[], document="note").data
    given = DataSpec(source="rows", document={"letters": "letter_id", "*": "note"})
    assert given.documents == {"letters": "letter_id", "*": "note"}
    assert DataSpec(source="rows").documents == {}
