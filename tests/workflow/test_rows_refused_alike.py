"""Plan and preview judge rows by one rule, before anything is loaded, and what they advise can be taken."""

import json
import re

import pytest

from medtune import MedTuner
from medtune.errors import BaseUnsuitedError, DataError


def asked(number, words=4):
    return {"question": f"What is drug {number} for? {'Tell it. ' * words}", "answer": f"It treats condition {number}."}


@pytest.fixture
def tuner_of(tmp_path, monkeypatch):
    """Return a tuner of the demo's base for rows, with settings."""
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))

    def made(rows, max_length=512, validation=None, **data):
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        if validation is not None:
            (tmp_path / "scored.jsonl").write_text("\n".join(map(json.dumps, validation)), "utf-8")
            data["validation"] = str(tmp_path / "scored.jsonl")
        data = {"source": str(tmp_path / "rows.jsonl"), "validation": None, **data}
        return MedTuner.from_bundle(
            "demo", data=data, train={"max_length": max_length}, output_dir=str(tmp_path / "run")
        )

    return made


def refused(tuner):
    """Return what the plan refuses, once the preview was seen to refuse the same."""
    plan = tuner.plan()
    if plan.fits:
        tuner.inspect(1)
        return ""
    with pytest.raises(DataError) as caught:
        tuner.inspect(1)
    with pytest.raises(DataError) as planned:
        plan.require_fit()
    assert str(caught.value) == str(planned.value) == plan.advice == plan.data["refused"]
    return plan.advice


def test_the_length_that_is_advised_is_enough_for_every_source_of_both_splits(tuner_of):
    rows = [{**asked(i, 4 + 60 * (i % 5 == 0) + 60 * (i % 10 == 0)), "source": "ab"[i % 2]} for i in range(60)]
    scored = [{**asked(900 + i, 4 + 160 * (i == 3)), "source": "a"} for i in range(10)]
    said = refused(tuner_of(rows, 200, scored))
    assert "would lose" in said
    length = int(re.search(r"train\.max_length=(\d+)", said)[1])
    assert refused(tuner_of(rows, length, scored)) == ""
    assert refused(tuner_of(rows, 200, scored, accept_loss=True)) == ""


def test_no_length_is_advised_that_the_base_does_not_take(tuner_of):
    rows = [asked(i, 4 + 3000 * (i == 3)) for i in range(10)]
    said = refused(tuner_of(rows))
    assert "the base takes 2,048" in said
    assert "max_length=" not in said
    assert refused(tuner_of(rows, accept_loss=True)) == ""
    longer = tuner_of(rows, 40_000)
    for looked_at in (longer.plan, longer.inspect):
        with pytest.raises(BaseUnsuitedError, match="knows 2,048 positions"):
            looked_at()


def test_rows_of_which_nothing_is_left_to_score_on_are_told_by_plan_preview_and_training(tuner_of, monkeypatch):
    tuner = tuner_of([asked(0)])
    told = [*tuner.plan().data["notes"], *tuner.inspect(1).report.notes()]
    assert [note.startswith("warning: there is no row to score on") for note in told] == [True, True]
    stages = []

    def stage(sentence):
        stages.append(sentence)
        if sentence.startswith("warning: there is no row to score on"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuner.train(on_stage=stage, quiet=True)
    assert not any("loading" in sentence for sentence in stages)
    assert not any("no row to score on" in note for note in tuner_of([asked(0), asked(1)]).plan().data["notes"])


def test_named_validation_rows_of_which_none_is_left_are_refused(tuner_of):
    rows, scored = ([{**asked(i), "source": source} for i in range(20)] for source in "ab")
    tuner = tuner_of(rows, validation=scored, include_sources=["a"])
    for looked_at in (tuner.plan, tuner.inspect):
        with pytest.raises(DataError, match=r"none of the rows of '.*scored\.jsonl' is left to score on"):
            looked_at()
