"""A finished run that is asked for again says what differs: it is scored again, or refused, and never answers with old figures."""

import json

import pytest

from medtune.errors import DamagedArtifactError, SpecChangedError
from medtune.workflow.training import train


@pytest.fixture
def file(rows, tmp_path):
    """A file of training rows and one of validation rows."""
    for name, chosen in (("train", rows[:12]), ("validation", rows[12:])):
        write(tmp_path / f"{name}.jsonl", chosen)
    return tmp_path / "train.jsonl"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def again(asked, file, told, tmp_path):
    """Return what trains the run, or asks for it again, and returns the sentences that were told."""

    def ask(**parts):
        data = {"source": str(file), "validation": str(tmp_path / "validation.jsonl"), "validation_fraction": 0.0}
        told.clear()
        request = asked(given=False, data=data | parts.pop("data", {}), **parts)
        train(request)
        return [event for event in told if isinstance(event, str)]

    ask()
    return ask


def scores(files):
    return files("run.json")["scores"]


def test_a_finished_run_is_left_as_it_is_when_nothing_changed(again, files):
    before = files("run.json")
    assert again() == ["this run is finished; nothing to do"]
    assert again(eval={"batch_size": 1}) == ["this run is finished; nothing to do"]
    assert files("run.json") == before


def test_rows_that_were_changed_in_place_are_refused(again, rows, file):
    write(file, [{**row, "output": "Neutral"} for row in rows[:12]])
    with pytest.raises(SpecChangedError, match="the data itself changed"):
        again()


def test_other_validation_rows_are_scored(again, rows, files, tmp_path):
    before = files("evaluation/tuned.json")
    write(tmp_path / "validation.jsonl", [{**row, "output": "Neutral"} for row in rows[12:]])
    told = again()
    assert "scored again" in told[0]
    assert "scoring the tuned model" in told
    assert files("evaluation/tuned.json") != before
    assert files("run.json")["state"] == "finished"
    assert again() == ["this run is finished; nothing to do"]


def test_other_settings_of_scoring_are_followed_and_kept(again, files):
    steps = files("run.json")["result"]["steps"]
    assert "scored again" in again(eval={"rows_per_source": 3})[0]
    record = files("run.json")
    assert record["scores"]["nli"]["rows"] == 3
    assert record["spec"]["eval"]["rows_per_source"] == 3
    assert record["result"]["steps"] == steps
    assert again(eval={"rows_per_source": 3}) == ["this run is finished; nothing to do"]


def test_settings_that_choose_the_adapter_are_refused(again):
    with pytest.raises(SpecChangedError, match=r"eval\.every was 'never' and is now 1"):
        again(eval={"every": 1})


def test_rows_that_are_gone_are_said(again, file):
    file.unlink()
    assert "could not be checked" in again()[0]


def test_an_adapter_that_was_damaged_is_refused(again, tmp_path):
    (tmp_path / "run" / "adapter" / "README.md").write_text("other")
    with pytest.raises(DamagedArtifactError, match="README"):
        again()
