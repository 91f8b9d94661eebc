"""Predictions of any system are read, and a bad line is named without its text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.errors import DataError, StorageError
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.scoring import score_predictions
from medtune.evaluation.tasks import provide_tasks
from medtune.plugins.contracts import Example, Prediction

GOOD = {"task": "nli", "input": "two sentences", "gold": "Neutral", "prediction": "neutral"}


@pytest.fixture
def file(tmp_path):
    def write(*lines):
        path = tmp_path / "predictions.jsonl"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
        return path

    return write


def test_source_and_task_may_be_missing(file, tasks):
    predictions = read_predictions(file(GOOD, {k: v for k, v in GOOD.items() if k != "task"}), tasks)
    assert [p.example.task for p in predictions] == ["nli", None]
    assert [p.example.source for p in predictions] == ["", ""]
    assert score_predictions(predictions, tasks).tasks["nli"].rows == 2


def test_blank_lines_and_a_missing_last_newline_do_not_matter(file, tasks):
    assert len(read_predictions(file(GOOD, b"", b"   ", GOOD), tasks)) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"task": "nli", "input": "SECRET', "it is not JSON"),
        (b"[1, 2]", "it is no JSON object"),
        (b'"SECRET"', "it is no JSON object"),
        (b'{"input": "SECRET \xff"}', "it is not UTF-8"),
        (b"[" * 100_000, "it is not JSON"),
        ({**GOOD, "prediction": None}, "'prediction' is not text"),
        ({**GOOD, "gold": ["SECRET"]}, "'gold' is not text"),
        ({**GOOD, "gold": "  "}, "'gold' is empty"),
        ({"task": "nli", "gold": "SECRET", "prediction": "x"}, "'input' is missing"),
        (
            {**GOOD, "task": "SECRET"},
            "its task is none of 'classification', 'extraction', 'ner', 'nli', 'qa', 'relation'",
        ),
        ({**GOOD, "source": 3}, "'source' is not text"),
        ({**GOOD, "truncated": "yes"}, "'truncated' is neither true nor false"),
        ({**GOOD, "messages": [{"role": "user"}]}, "'messages' is no list of turns"),
        ({**GOOD, "messages": "SECRET"}, "'messages' is no list of turns"),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_without_its_text(line, reason, file, tasks):
    with pytest.raises(DataError, match="line 2 cannot be scored") as caught:
        read_predictions(file(GOOD, line), tasks)
    assert reason in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_empty_file_says_what_belongs_into_it(file, tasks):
    with pytest.raises(DataError, match="holds no predictions; write a JSON object with input, gold, prediction"):
        read_predictions(file(b""), tasks)


def test_a_missing_file_is_a_storage_error(tmp_path, tasks):
    with pytest.raises(StorageError, match="cannot read"):
        read_predictions(tmp_path / "none.jsonl", tasks)


def test_an_unwritable_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_predictions(tmp_path / "no" / "folder.jsonl", [])


texts = st.text().map(lambda text: text.encode("utf-8", "ignore").decode())
roles = st.sampled_from(["system", "user", "assistant"])
turns = st.lists(st.fixed_dictionaries({"role": roles, "content": texts}), min_size=1, max_size=4)


@given(turns, texts.filter(str.strip), texts, st.booleans(), st.sampled_from(["", "note 1"]))
def test_written_predictions_are_read_back_as_they_were(tmp_path_factory, asked, gold, text, truncated, document):
    path = tmp_path_factory.mktemp("predictions") / "p.jsonl"
    messages = (*asked, {"role": "assistant", "content": gold})
    prediction = Prediction(Example(messages, "source", "qa", "row 1", document), text, truncated)
    write_predictions(path, [prediction])
    assert read_predictions(path, provide_tasks()) == [prediction]
