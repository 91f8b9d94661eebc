"""Observers are told each by itself, of copies, and whatever they raise is counted and told once."""

import logging
import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from guarded_things import CANARY, OF_PLUGIN, guarded_of, host_of, plugin_of

from medtune import Example, hookimpl
from medtune.errors import DataError
from medtune.machine.process_state import process_kept
from medtune.plugins.contracts import Prediction, TaskScore
from medtune.plugins.host import create_host
from medtune.plugins.observers import Observers
from medtune.runs.signals import StopNow

RECORD = {"step": 1, "evaluation": {"nli": 0.5}}


def observing(name, function):
    return plugin_of(name, step_logged=function)


def seeing(seen):
    """Return an observer that keeps what it is told; pluggy reads the name of its argument."""

    def see(record):
        seen.append(record)

    return see


def told_of(host, hook="step_logged", times=1, **facts):
    """Tell observers and return their failures and what was said."""
    observers, said = Observers(), []
    for _ in range(times):
        observers.tell(host, hook, {**(facts or {"record": RECORD}), "run_id": "id"}, said.append)
    observers.close()
    return observers.failures, said


@pytest.mark.parametrize("raised", [ValueError, SystemExit, GeneratorExit, DataError, StopIteration, BaseException])
def test_an_observer_that_raises_keeps_no_other_from_being_told(raised, caplog):
    seen = []

    def fail(record):
        raise raised(CANARY)

    plugins = [
        observing("before", seeing(seen)),
        observing("sick", fail),
        observing("after", seeing(seen)),
    ]
    with caplog.at_level(logging.WARNING):
        failures, said = told_of(create_host(plugins, autoload=False), times=3)
    assert seen == [RECORD] * 6
    assert failures == {"sick": {"step_logged": 3}}
    place = f"{raised.__name__} at test_observers.py:"
    assert len(said) == 1
    assert said[0].startswith(f"plugin 'sick' failed in step_logged ({place}")
    assert [record.getMessage() for record in caplog.records] == [*said, "plugin 'sick' failed 3 times in step_logged"]
    assert CANARY not in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StopNow("SIGTERM")])
def test_the_users_wish_to_stop_is_no_failure_of_the_observer_it_came_in(error):
    def stopped(record):
        raise error

    with pytest.raises(type(error)):
        told_of(create_host([observing("busy", stopped)], autoload=False))


@pytest.mark.parametrize("hook", ["run_finished", "run_failed"])
def test_ctrl_c_after_the_end_of_a_run_ends_the_observer_alone(hook):
    def finished(run):
        raise KeyboardInterrupt

    def failed(spec, error):
        raise KeyboardInterrupt

    plugin = plugin_of("slow", **{hook: finished if hook == "run_finished" else failed})
    facts = {"run": None} if hook == "run_finished" else {"spec": None, "error": ValueError()}
    failures, _said = told_of(create_host([plugin], autoload=False), hook, **facts)
    assert failures == {"slow": {hook: 1}}


def test_what_an_observer_changes_is_a_copy_of_its_own():
    seen = []

    def greedy(record):
        record["evaluation"].clear()
        record["step"] = "none"

    host = create_host([observing("seeing", seeing(seen)), observing("greedy", greedy)], autoload=False)
    given = {"step": 1, "evaluation": {"nli": 0.5}}
    failures, _said = told_of(host, record=given)
    assert given == RECORD
    assert seen == [RECORD]
    assert failures == {}


def test_an_observer_that_wraps_the_others_is_told_too():
    seen = []

    def around(record):
        seen.append(record["step"])
        return (yield)

    plugin = plugin_of("wrapping")
    plugin.step_logged = hookimpl(around, wrapper=True, specname="step_logged")
    failures, _said = told_of(create_host([plugin], autoload=False))
    assert (seen, failures) == ([1], {})


def test_an_observer_may_take_fewer_facts():
    seen = []

    def run_failed(error):
        seen.append(error)

    plugin = plugin_of("brief", run_failed=run_failed)
    error = ValueError()
    told_of(create_host([plugin], autoload=False), "run_failed", spec=None, error=error)
    assert seen == [error]


def altered(what):
    """Change something of the process."""
    match what:
        case "the working directory":
            os.chdir("/")
        case "torch's default dtype":
            torch.set_default_dtype(torch.float64)
        case "torch's gradient mode":
            torch.set_grad_enabled(False)
        case "torch's number of threads":
            torch.set_num_threads(torch.get_num_threads() + 1)
        case "torch's deterministic algorithms":
            torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
        case "torch's random numbers":
            torch.manual_seed(0)
        case "numpy's random numbers":
            np.random.seed(0)  # noqa: NPY002 - the global state is what is meant
        case "Python's random numbers":
            random.random()


def state_of_process():
    found = Path.cwd(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    drawn = random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002 - as above
    return *found, torch.are_deterministic_algorithms_enabled(), *drawn


CHANGES = [
    "the working directory", "torch's default dtype", "torch's gradient mode", "torch's number of threads",
    "torch's deterministic algorithms", "torch's random numbers", "numpy's random numbers", "Python's random numbers",
]  # fmt: skip


@pytest.fixture
def process():
    """Undo what a plugin changes if nothing else does."""
    with process_kept():
        here = Path.cwd()
        yield
        os.chdir(here)


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.usefixtures("process")
def test_what_an_observer_changes_for_the_whole_process_is_put_back_and_told_once(what):
    def change(record):
        altered(what)

    def change_and_fail(record):
        altered(what)
        raise ValueError(CANARY)

    before = state_of_process()
    _failures, said = told_of(create_host([observing("odd", change)], autoload=False), times=2)
    assert said == [f"plugin 'odd' changed {what} in step_logged; put back"]
    assert state_of_process() == before
    failures, said = told_of(create_host([observing("odd", change_and_fail)], autoload=False), times=2)
    assert failures == {"odd": {"step_logged": 2}}
    assert said[1:] == [f"plugin 'odd' changed {what} in step_logged; put back"]
    assert state_of_process() == before


def score_of(what):
    def score(predictions):
        altered(what)
        return TaskScore(len(predictions), "accuracy", {"accuracy": 1.0})

    return score


def read_by(what):
    def rows(path):
        for number in range(20):
            if number == 3:
                altered(what)
            yield {"n": number}

    return rows


KINDS_AND_CHANGES = [(kind, what) for kind in ("task", "formatter", "reader") for what in CHANGES]
KINDS_AND_CHANGES += [("generator", what) for what in CHANGES if "random" not in what]  # a generator may draw


@pytest.mark.parametrize(("kind", "what"), KINDS_AND_CHANGES)
@pytest.mark.usefixtures("process")
def test_what_other_plugins_change_for_the_whole_process_is_put_back_and_named(kind, what, caplog, tmp_path):
    before = state_of_process()
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    if kind == "task":
        method = "score"
        guarded_of(kind, score=score_of(what)).score([Prediction(Example(turns), "!")])
    elif kind == "formatter":
        method = "format"
        guarded_of(kind, format=lambda row: altered(what) or Example(turns)).format({"q": "?"})
    elif kind == "reader":
        method = "rows"
        thing = SimpleNamespace(name="ill", suffixes=[".odd"], rows=read_by(what))
        list(host_of(kind, thing).find(kind, "ill").rows(tmp_path / "a.odd"))
    else:
        method = "generate"
        guarded_of(kind, generate=lambda *_: altered(what) or []).generate(None, [], None)
    assert state_of_process() == before
    said = [record.getMessage() for record in caplog.records if "put back" in record.getMessage()]
    assert said == [f"{OF_PLUGIN} changed {what} in {kind} 'ill'.{method}; put back"]
