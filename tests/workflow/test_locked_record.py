"""What a record says of locking: for every session whether it was locked, and what was refused."""

import pytest

from medtune.workflow.locked import record_of, with_refusals


@pytest.fixture
def lock_variable(monkeypatch):
    return lambda value: monkeypatch.setenv("MEDTUNE_LOCKED", value)


def test_a_locked_run_that_goes_on_unlocked_says_so_and_the_other_way_round(lock_variable):
    lock_variable("1")
    first = record_of({})
    assert first == {"sessions": [True], "refused": []}
    lock_variable("0")
    second = record_of({"locked": first})
    lock_variable("1")
    assert record_of({"locked": second})["sessions"] == [True, False, True]


def test_what_an_earlier_session_refused_stays(lock_variable):
    lock_variable("0")
    refused = [{"what": "look up a name", "module": "m", "distribution": "d", "count": 1}]
    assert record_of({"locked": {"sessions": [True], "refused": refused}})["refused"] == refused
    assert with_refusals({"locked": {"sessions": [True]}}) is None
