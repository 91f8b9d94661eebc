"""The last stage scores base and tuned model on the same rows, reports both, and finishes the record."""

import json
import shutil
from dataclasses import replace

import pytest

from medtune import ModelSpec
from medtune.workflow.stages.fit import fit
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import prepare
from medtune.workflow.stages.score import score, score_base


def test_base_and_tuned_model_are_scored_and_compared(asked, told, files, tmp_path):
    state = prepare(asked())
    loaded = load(state)
    base = score_base(state, loaded)
    assert told[-1] == "scoring the base model on 2 rows"
    assert base.tasks["nli"].rows == 2
    score(state, loaded, base, fit(state, loaded, lambda: None))
    assert told[-2:] == ["scoring the tuned model", "writing the report"]
    record = files("run.json")
    assert record["state"] == "finished"
    assert record["result"]["steps"] == 2
    assert record["scores"]["nli"]["rows"] == 2
    assert set(record["comparison"]["tasks"]) == {"nli"}
    assert record["preparation"]["rows"] == 13
    assert "finished" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("why", ["not enabled", "no rows", "another rank"])
def test_where_nothing_is_scored_the_report_is_written_without(asked, told, files, monkeypatch, why):
    changes = {"not enabled": {"eval": {"enabled": False}}, "no rows": {"data": {"validation_fraction": 0.0}}}
    state = prepare(asked(**changes.get(why, {})))
    loaded = load(state)
    if why == "another rank":
        monkeypatch.setenv("RANK", "1")
    assert score_base(state, loaded) is None
    assert not state.asked.folder.evaluation_dir.exists()
    if why != "another rank":
        score(state, loaded, None, fit(state, loaded, lambda: None))
        assert "scoring the tuned model" not in told
        assert files("run.json")["state"] == "finished"
        assert "scores" not in files("run.json")


def changed_rows(state, old, new):
    """The state with that text exchanged in every turn; the rows keep their ids."""
    examples = [
        replace(example, messages=[{**m, "content": m["content"].replace(old, new)} for m in example.messages])
        for example in state.prepared.validation
    ]
    assert examples != list(state.prepared.validation)
    return replace(state, prepared=replace(state.prepared, validation=examples))


def with_spec(state, **parts):
    return replace(state, asked=replace(state.asked, spec=state.asked.spec.model_copy_with(**parts)))


@pytest.fixture
def scored(asked, told):
    """A run whose base was scored before it was interrupted."""
    state = prepare(asked())
    loaded = load(state)
    first = score_base(state, loaded)
    told.clear()
    return state, loaded, first


def test_the_base_is_not_scored_again_when_nothing_changed(scored, told):
    state, loaded, first = scored
    assert score_base(state, loaded) == first
    assert score_base(with_spec(state, eval=state.asked.spec.eval.model_copy_with(batch_size=1)), loaded) == first
    assert told == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda state: changed_rows(state, "Patient", "Person"), id="what is asked"),
        pytest.param(lambda state: changed_rows(state, "Contradiction", "Neutral"), id="what is right"),
        pytest.param(lambda state: with_spec(state, eval={**evaluation(state), "max_new_tokens": 5}), id="how long"),
        pytest.param(lambda state: with_spec(state, eval={**evaluation(state), "label_likelihood": True}), id="labels"),
        pytest.param(lambda state: replace(state, plan=replace(state.plan, scheme="int8")), id="the storage"),
    ],
)
def test_the_base_is_scored_anew_when_its_answers_are_to_something_else(scored, told, change):
    state, loaded, _first = scored
    score_base(change(state), loaded)
    assert told == ["scoring the base model on 2 rows"]


def evaluation(state):
    return state.asked.spec.eval.model_dump(exclude_unset=True)


def test_the_base_is_scored_anew_when_its_weights_are_others(scored, told, base, tmp_path):
    state, loaded, first = scored
    other = tmp_path / "other"
    shutil.copytree(base, other)
    moved = with_spec(state, model=ModelSpec(name=state.asked.spec.model.name, path=str(other)))
    assert score_base(moved, loaded) == first
    assert told == []
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    score_base(moved, loaded)
    assert told == ["scoring the base model on 2 rows"]


def test_answers_that_do_not_belong_to_their_scores_are_given_anew(scored, told):
    """A crash may leave new answers beside the scores of older ones."""
    state, loaded, first = scored
    file = state.asked.folder.evaluation_dir / "predictions-base.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**line, "prediction": "Entailment"}) + "\n" for line in lines))
    assert score_base(state, loaded) == first
    assert told == ["scoring the base model on 2 rows"]
    (file.parent / "base.json").write_text("{")
    assert score_base(state, loaded) == first
    assert len(told) == 2
