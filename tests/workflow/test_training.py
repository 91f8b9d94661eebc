"""A whole run scores itself on the way, is stopped and fails in the open, and refuses a figure that it cannot have."""

import json
import os
import signal
from types import ModuleType

import pytest

from medtune import hookimpl
from medtune.errors import DataError, RunInterruptedError, SpecError
from medtune.plugins.contracts import Completion
from medtune.runs.log import RunLog
from medtune.testing.tiny import tiny_base
from medtune.testing.tuned_run import tuned_run
from medtune.workflow.training import train

TRAIN = {"num_train_epochs": None, "max_steps": 4, "logging_steps": 4, "save_strategy": "no"}


def test_a_run_logs_its_scores_and_keeps_the_best(tmp_path):
    tiny_base(tmp_path)
    wanted = {"every": 2, "keep_best": "nli", "rows_in_training": 3}
    outcome = tuned_run(tmp_path, {"base": str(tmp_path), "train": TRAIN, "eval": wanted})
    scored = [record for record in outcome["log"] if "evaluation" in record]
    assert [record["step"] for record in scored] == [2, 4]
    for record in scored:
        assert set(record) == {"step", "evaluation", "macro"}  # and the seconds, which differ from run to run
        assert {"nli"} <= set(record["evaluation"]) <= {"ner", "nli"}  # of rows without an entity there is no span F1
        assert record["macro"] == pytest.approx(sum(record["evaluation"].values()) / len(record["evaluation"]))
    assert (tmp_path / "run" / "checkpoints" / "step-000002" / "MANIFEST.json").is_file()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    minutes = record["minutes"]
    assert minutes["promised"] == record["plan"]["minutes"]
    assert all(minutes["measured"][stage] > 0 for stage in ("load", "prepare", "train", "score"))
    assert 'id="minutes"' in (tmp_path / "run" / "report.html").read_text()


def test_a_figure_that_no_row_gives_is_refused_before_training(tmp_path):
    tiny_base(tmp_path)
    with pytest.raises(SpecError, match=r"keep_best is 'qa', .* use one of macro, ner, nli"):
        tuned_run(tmp_path, {"base": str(tmp_path), "train": TRAIN, "eval": {"keep_best": "qa", "every": 2}})
    assert RunLog(tmp_path / "run" / "log.jsonl").read() == []


@pytest.mark.parametrize("wanted", [{"every": "never", "patience": 1}, {"enabled": False, "keep_best": "macro"}])
def test_a_choice_without_scores_is_refused(tmp_path, wanted):
    tiny_base(tmp_path)
    with pytest.raises(SpecError, match="need scores during training"):
        tuned_run(tmp_path, {"base": str(tmp_path), "eval": wanted})


class Answers:
    """A generator that does something before it answers nothing."""

    name = "answers"

    def __init__(self, act):
        self.act = act

    def generate(self, loaded, prompts, spec):
        self.act()
        return [Completion([], "", truncated=False) for _ in prompts]


def observing(act, seen, fail=None):
    """A plugin whose generator acts, and which is told how the run ends."""

    def run_started(spec, plan):
        seen.append("started")

    def run_finished(run):
        seen.append(f"finished: {run.state}")

    def run_failed(spec, error):
        seen.append(f"failed: {type(error).__name__}")
        if fail:
            raise fail

    plugin = ModuleType("observers")
    plugin.provide_generators = hookimpl(lambda: [Answers(act)], specname="provide_generators")
    for hook in (run_started, run_finished, run_failed):
        setattr(plugin, hook.__name__, hookimpl(hook))
    return plugin


def test_a_run_is_told_as_started_and_as_finished(asked, told):
    seen = []
    request = asked(eval={"backend": "answers"}, plugin=observing(lambda: None, seen))
    assert train(request).state == "finished"
    assert [event for event in told if isinstance(event, str) and not event.startswith("warning: ")] == [
        "reading and encoding the rows",
        "loading the base model (none)",
        "scoring the base model on 2 rows",
        "training for 2 steps",
        "saving the adapter",
        "scoring the tuned model",
        "writing the report",
    ]
    assert train(request).state == "finished"
    assert told[-1] == "this run is finished; nothing to do"
    assert seen == ["started", "finished: finished"]


@pytest.mark.parametrize(("at", "step"), [(1, 0), (2, 2)])
def test_a_signal_while_a_model_is_scored_stops_at_once_and_says_after_which_step(asked, files, at, step):
    seen, calls = [], []

    def act():
        calls.append(len(calls) + 1)
        if calls[-1] == at:
            os.kill(os.getpid(), signal.SIGTERM)

    request = asked(eval={"backend": "answers"}, plugin=observing(act, seen))
    with pytest.raises(RunInterruptedError, match=rf"at step {step} \(SIGTERM\)"):
        train(request)
    assert files("run.json")["state"] == "interrupted"
    assert seen == ["started", "failed: RunInterruptedError"]
    assert train(request).state == "finished"


def test_a_failure_is_kept_and_an_observer_that_fails_too_does_not_hide_it(asked, files):
    seen = []

    def act():
        raise DataError("no answer")

    request = asked(eval={"backend": "answers"}, plugin=observing(act, seen, fail=ValueError("observer")))
    with pytest.raises(DataError, match="no answer") as caught:
        train(request)
    assert caught.value.__notes__ == ["in generator 'answers'.generate of plugin 'observers'"]
    assert files("run.json")["observers"] == {"observers": {"run_failed": 1}}
    assert files("run.json")["state"] == "failed"
    assert files("run.json")["error"] == {"type": "DataError", "message": "no answer"}
    assert seen == ["started", "failed: DataError"]


def test_a_second_ctrl_c_leaves_a_run_that_can_be_gone_on_with(asked, files):
    seen = []

    def act():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked(eval={"backend": "answers"}, plugin=observing(act, seen)))
    assert files("run.json")["state"] == "interrupted"
    assert seen == ["started", "failed: KeyboardInterrupt"]
