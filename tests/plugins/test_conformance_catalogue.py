"""Each bad plugin is caught by the check that is meant for it; the odd ones that are right pass."""

import json
import logging

import pytest
from _pytest.logging import LogCaptureHandler
from bad_plugins import of_backends, of_bundles, of_imports, of_readers, of_rows, of_tasks, right

from medtune.testing.conformance import all_checks, check_plugin

ALL = [bad for module in (of_rows, of_readers, of_tasks, of_bundles, of_imports, of_backends) for bad in module.BAD]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch, tmp_path):
    """Undo what bad plugins leave behind in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(json, "dumps", json.dumps)
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])
    for name in ("LETTERS_SEEN", "WATCH"):
        monkeypatch.setenv(name, "before")


def found(bad, tmp_path, number, without=()):
    what = bad.plugin
    if isinstance(what, str):
        what = tmp_path / f"acme_plugin_{number}.py"
        what.write_text(bad.plugin)
    report = check_plugin(what, kinds=[bad.kind], without=without, seconds=bad.seconds)
    for (
        handler
    ) in logging.getLogger().handlers:  # rows that were logged hold what no report of a test can be written with
        if isinstance(handler, LogCaptureHandler):
            handler.reset()
    return report


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=name, marks=[pytest.mark.proof] if name == "formatter leaves a thread" else [])
        for number, name in enumerate(f"{bad.kind} {bad.fault}" for bad in ALL)
    ],
)  # that one takes half a minute, and a plugin that leaves a thread is tried beside it
def test_a_bad_plugin_is_caught_by_the_check_that_is_meant_for_it(number, tmp_path):
    bad = ALL[number]
    others = {each.name for each in all_checks()} - {bad.check}
    looks_at_others = bad.check.startswith("calls-")  # at what is seen while the others call a thing
    report = found(bad, tmp_path, number, without=() if looks_at_others else others)
    assert bad.check in report.failed_checks, [str(each) for each in report.failed]


def test_there_are_more_than_eighty_faults_of_many_kinds():
    assert len(ALL) >= 80
    assert len({(bad.kind, bad.fault) for bad in ALL}) == len(ALL)
    assert {bad.check for bad in ALL} <= {each.name for each in all_checks()}


def test_every_check_but_one_catches_a_plugin_of_the_catalogue():
    without = {each.name for each in all_checks()} - {bad.check for bad in ALL}
    assert without == {"bundle-file"}  # a spec that JSON can hold has no value that TOML cannot


@pytest.mark.parametrize(
    "number",
    [pytest.param(number, marks=[pytest.mark.proof] if number % 18 else []) for number in range(0, len(ALL), 9)],
)
def test_a_fault_is_not_told_under_the_name_of_a_check_that_is_left_out(number, tmp_path):
    bad = ALL[number]
    assert bad.check not in found(bad, tmp_path, 1000 + number, without=[bad.check]).failed_checks


@pytest.mark.parametrize("odd", right.RIGHT)
def test_a_right_plugin_passes_however_odd_it_is(odd):
    report = check_plugin(right.RIGHT[odd])
    assert report.is_right, [str(each) for each in report.failed]
    assert report.count("passed") >= 5


def test_there_are_twenty_right_plugins():
    assert len(right.RIGHT) >= 20
