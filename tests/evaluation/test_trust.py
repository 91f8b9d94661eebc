"""Which answers are right, which of them are sure, and what files and scores say of it."""

import json

import numpy as np
import pytest

from medtune.errors import DataError
from medtune.evaluation.predictions import read_predictions, write_predictions
from medtune.evaluation.scoring import bind, score_predictions
from medtune.evaluation.source_survey import survey
from medtune.evaluation.tally import tally_ratios
from medtune.evaluation.tasks import provide_tasks
from medtune.evaluation.trust import right_answers
from medtune.plugins.contracts import Prediction
from medtune.specs import TaskSpec


def sure(prediction, confidence):
    return Prediction(prediction.example, prediction.text, prediction.truncated, confidence)


@pytest.mark.parametrize(
    ("task", "rows", "right"),
    [
        (
            "ner",
            [
                ("a : B\nb : I", "a : B\nb : I"),
                ("a : B\nb : O", "a : B\nb : I"),
                ("a : O", "a : O"),
                ("a : B", "a : O"),
            ],
            [1, 0, 1, 0],
        ),
        ("nli", [("Neutral", "Neutral"), ("neutral.", "Neutral"), ("dunno", "Neutral")], [1, 1, 0]),
        ("relation", [("No Relations", "No Relations"), ("dunno", "No Relations"), ("TrIP", "PIP")], [1, 0, 0]),
        ("classification", [("None", "None"), ("dunno", "None")], [1, 0]),
        (
            "qa",
            [("###Answer: yes", "###Answer: yes"), ("no", "###Answer: yes"), ("tea", "drink tea"), ("tea", "tea")],
            [1, 0, np.nan, np.nan],
        ),
        ("extraction", [("a; b", "b; a"), ("a", "a; b")], [1, 0]),
        ("extraction", [("[]", "[]"), ("{broken", "[]"), ('["a"]', "[]")], [1, 0, 0]),
    ],
)
def test_an_answer_is_right_wrong_or_neither(task, rows, right, predict_of):
    made = {each.name: each for each in provide_tasks()}[task]
    predictions = [predict_of(text, gold, task=task) for text, gold in rows]
    assert right_answers(made.tally(predictions)).tolist() == pytest.approx(right, nan_ok=True)


def test_an_answer_that_cannot_be_read_is_wrong_where_nothing_is_there_to_find():
    tally = tally_ratios("found", {"found": ([0, 0], [0, 0]), "invalid_answer": ([0, 1], [1, 1])})
    assert right_answers(tally).tolist() == [1, 0]


def test_several_labels_are_right_together_only(predict_of):
    rows = [("a; b", "a; b"), ("a", "a; b"), ("none", "none"), ("dunno", "none")]
    predictions = [predict_of(text, gold, source="s", task="classification") for text, gold in rows]
    declared = TaskSpec(source="s", kind="multi-label", labels=("a", "b", "none"), negative=("none",))
    tasks = bind(provide_tasks(), survey([p.example for p in predictions], [declared]))
    made = next(task for task in tasks if task.name == "classification")
    assert right_answers(made.tally(predictions)).tolist() == [1, 0, 1, 0]


def answered(predict_of, rows=200):
    """The surer, the more often right; of the first source more so. A tenth are texts, and a tenth do not say."""
    rng = np.random.default_rng(0)
    for i in range(rows):
        confidence = float(rng.random())
        source = "one" if i % 2 else "two"
        is_right = rng.random() < (0.99 if confidence > 0.4 else 0.2) - 0.04 * (source == "two")
        yield sure(
            predict_of("###Answer: yes" if is_right else "no", "###Answer: yes", task="qa", source=source), confidence
        )
    for _ in range(rows // 10):
        yield sure(predict_of("tea", "drink tea", task="qa", source="two"), 0.5)
        yield predict_of("###Answer: yes", "###Answer: yes", task="qa", source="two")


def test_confidence_is_judged_per_task_and_per_source_and_what_is_left_out_is_counted(tasks, predict_of):
    predictions = list(answered(predict_of, 400))
    found = score_predictions(predictions, tasks, alpha=0.1).trust
    assert found["alpha"] == 0.1
    assert found["tasks"]["qa"]["rows"] == 400
    assert found["tasks"]["qa"]["left_out"] == {"without a confidence": 40, "neither right nor wrong": 40}
    assert [found["sources"][source]["qa"]["rows"] for source in ("one", "two")] == [200, 200]
    assert found["sources"]["one"]["qa"]["left_out"] == {}
    told = found["tasks"]["qa"]["abstention"]
    assert 0.3 < told["threshold"] < 0.7
    assert told["error"] <= 0.1
    assert score_predictions(predictions, tasks).to_json().get("trust") is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_answers_without_a_confidence_are_not_judged(tasks, predict_of):
    assert score_predictions([predict_of("Neutral", "Neutral", task="nli")], tasks, alpha=0.1).trust == {}


def test_rows_of_a_document_are_calibrated_on_or_judged_together(tasks, predict_of):
    rows = [sure(predict_of("Neutral", "Neutral", task="nli", document=f"note {i // 4}"), i / 400) for i in range(400)]
    told = score_predictions(rows, tasks, alpha=0.1).trust["tasks"]["nli"]["abstention"]
    assert (told["calibrated_on"], told["judged_on"]) == (200, 200)


def test_a_confidence_is_kept_in_the_file_of_predictions(tmp_path, predict_of):
    path = tmp_path / "predictions.jsonl"
    kept = [sure(predict_of("Neutral", "Neutral", task="nli"), 0.123456789012345), predict_of("a", "b", task="qa")]
    write_predictions(path, kept)
    assert [p.confidence for p in read_predictions(path)] == [0.123456789012345, None]
    assert "confidence" not in path.read_text().splitlines()[1]


@pytest.mark.parametrize("value", [1.5, -0.1, "high", True, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(tmp_path, value):
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps({"input": "q", "gold": "a", "prediction": "a", "confidence": value}))
    with pytest.raises(DataError, match="line 1 cannot be scored: 'confidence' is no number between 0 and 1"):
        read_predictions(path)
