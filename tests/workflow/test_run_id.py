"""A run has one id from its first start on, which every hook is told."""

import json
import re
from types import ModuleType

import pytest

from medtune import hookimpl
from medtune.errors import RunInterruptedError
from medtune.workflow.training import train


def observing(seen):
    plugin = ModuleType("observing")
    plugin.run_started = hookimpl(lambda spec, plan, run_id: seen.append(("started", run_id)), specname="run_started")
    plugin.step_logged = hookimpl(lambda record, run_id: seen.append(("logged", run_id)), specname="step_logged")
    plugin.run_finished = hookimpl(lambda run, run_id: seen.append(("finished", run_id)), specname="run_finished")
    plugin.run_failed = hookimpl(lambda error, run_id: seen.append(("failed", run_id)), specname="run_failed")
    return plugin


def test_the_id_is_made_once_and_stays_through_an_interruption(asked, files, tmp_path):
    seen = []
    stops = [True]
    request = asked(plugin=observing(seen), train={"logging_steps": 1, "max_steps": 3})
    cancelled = asked(plugin=observing(seen), train={"logging_steps": 1, "max_steps": 3})
    object.__setattr__(cancelled, "cancels", (lambda: bool(stops) and (tmp_path / "run" / "log.jsonl").exists(),))
    with pytest.raises(RunInterruptedError):
        train(cancelled)
    stops.clear()
    (run_id,) = {told for _event, told in seen}
    assert re.fullmatch("[0-9a-f]{32}", run_id)
    assert files("run.json")["run_id"] == run_id
    train(request)
    assert {told for _event, told in seen} == {run_id}
    assert {event for event, _told in seen} == {"started", "logged", "failed", "finished"}
    assert files("run.json")["run_id"] == run_id


def test_two_runs_have_two_ids(asked, files, tmp_path):
    train(asked())
    first = files("run.json")["run_id"]
    (tmp_path / "run").rename(tmp_path / "first")
    train(asked())
    assert files("run.json")["run_id"] != first


def test_a_run_of_an_earlier_medtune_gets_an_id_when_it_goes_on(asked, files, tmp_path):
    train(asked())
    record = {key: value for key, value in files("run.json").items() if key not in ("run_id", "sha256", "record")}
    (tmp_path / "run" / "record.jsonl").unlink()
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, "state": "interrupted"}))
    train(asked())
    assert files("run.json")["run_id"]
