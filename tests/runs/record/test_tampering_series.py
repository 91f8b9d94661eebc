"""Whatever is done to a file of a run, verify finds it; with a key also after a forger computed every hash anew."""

import shutil
import sys

import pytest

from medtune.testing.faults import FaultLab
from medtune.testing.tampering import DAMAGES, cases, tamper
from medtune.testing.trials import Series


def some(run, every, offset):
    return list(cases(run))[offset::every]


def test_what_was_tampered_with_is_found(finished, other, tmp_path):
    tally = tamper(finished, other, tmp_path, some(finished, 3, 0))
    assert (tally.failures, tally.of > 60) == ([], True)


def test_what_was_sealed_anew_is_found_by_the_key(finished, other, public, tmp_path):
    tally = tamper(finished, other, tmp_path, some(finished, 4, 1), key=public)
    assert (tally.failures, tally.of > 45) == ([], True)


def test_each_kind_of_damage_changes_something(finished, other, tmp_path):
    for damage in DAMAGES:
        chosen = [case for case in cases(finished) if case.damage == damage and case.file == "evaluation/base.json"]
        assert tamper(finished, other, tmp_path, chosen).of == 1, damage


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="faults are injected on Linux with a C compiler",
)
def test_a_run_is_never_taken_for_tampered_with_after_a_kill_and_whole_after_the_next_command():
    with FaultLab("medtune.testing.recorded_run:recorded_run") as lab:
        tally = Series(lab, {}).kill_everywhere(every=67, offset=3)
    assert (tally.failures, tally.of >= 5) == ([], True)


@pytest.mark.proof
def test_every_tampering_is_found(finished, other, public, tmp_path):
    for key in (None, public):
        tallies = [tamper(finished, other, tmp_path, list(cases(finished)), key=key, seed=seed) for seed in range(6)]
        print(*tallies, sep="\n")
        assert [failure for tally in tallies for failure in tally.failures] == []
        assert sum(tally.of for tally in tallies) >= 1000


@pytest.mark.proof
@pytest.mark.timeout(2400)
def test_a_kill_at_every_event_leaves_a_run_that_goes_on_and_verifies():
    with FaultLab("medtune.testing.recorded_run:recorded_run") as lab:
        tally = Series(lab, {}).kill_everywhere()
    print(tally)
    assert tally.failures == []
