"""Observers are told each by itself, of copies, and whatever they raise is counted and told once."""

import logging

import pytest
from guarded_things import CANARY, plugin_of

from medtune import hookimpl
from medtune.errors import DataError
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
