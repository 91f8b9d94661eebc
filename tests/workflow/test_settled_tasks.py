"""Every stage scores by what preparation found, or the user said, of the sources."""

import pytest

from medtune.evaluation.scoring import contracts_of
from medtune.evaluation.source_survey import UndecidedTaskError, survey
from medtune.plugins.contracts import Example
from medtune.plugins.host import create_host
from medtune.specs import RunSpec
from medtune.workflow.settled_tasks import settled, still_told


def examples_of(golds, source):
    return [
        Example([{"role": "user", "content": "q"}, {"role": "assistant", "content": g}], source=source) for g in golds
    ]


def told_of(golds, source="own", *, strict=True):
    return [contract.to_json() for contract in survey(examples_of(golds, source), strict=strict).members]


def task_of(host, example):
    return next(task.name for task in host.all("task") if task.matches(example))


def test_tasks_know_the_contracts_of_the_report():
    example = examples_of(["well"], "own")[0]
    host = create_host(autoload=False)
    assert task_of(host, example) == "qa"
    assert task_of(settled(host, RunSpec(), told_of(["well", "ill"] * 8)), example) == "classification"


def test_what_a_spec_declares_holds_where_nothing_was_told():
    spec = RunSpec(tasks=[{"source": "own", "kind": "relation"}])
    assert task_of(settled(create_host(autoload=False), spec, []), examples_of(["well"], "own")[0]) == "relation"


def test_training_asks_for_what_it_cannot_score_unless_nothing_is_scored():
    told, host = told_of(["a", "b"], strict=False), create_host(autoload=False)
    with pytest.raises(UndecidedTaskError, match="source 'own'"):
        settled(host, RunSpec(), told)
    assert settled(host, RunSpec(eval={"enabled": False}), told)


def test_a_source_of_which_something_else_is_said_is_no_longer_told():
    record = {"spec": {}, "preparation": {"tasks": told_of(["well", "ill"] * 8) + told_of(["yes"] * 9, "other")}}
    now = RunSpec(tasks=[{"source": "own", "kind": "free-text"}])
    assert [contract["source"] for contract in still_told(record, now)] == ["other"]
    host = settled(create_host(autoload=False), now, still_told(record, now))
    kinds = {contract.source: contract.kind for contract in contracts_of(host.all("task")).members}
    assert kinds == {"own": "free-text", "other": "decision"}
    assert still_told(record, RunSpec(tasks=[{"kind": "question"}])) == []
    assert len(still_told(record, RunSpec())) == 2
