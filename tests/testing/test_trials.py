"""A few trials of each series in the fault laboratory; ``benchmarks/crash.py`` runs them all."""

import shutil
import sys

import pytest

from medtune.testing.corruption import corrupt_checkpoints
from medtune.testing.faults import Fault, FaultLab
from medtune.testing.tiny import tiny_base
from medtune.testing.trials import Series, damage_newest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="faults are injected on Linux with a C compiler",
)


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return {"base": str(folder), "train": {"num_train_epochs": 1}}


@pytest.fixture(scope="module")
def lab():
    with FaultLab("medtune.testing.tiny_run:tiny_run") as lab:
        yield lab


@pytest.fixture(scope="module")
def series(lab, options):
    return Series(lab, {**options, "export": True})


@pytest.fixture(scope="module")
def finished(lab, options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert lab.run(folder, options=options).status == (0,)
    return folder


def survived_all(tally):
    assert tally.failures == []
    assert tally.of > 0
    return True


def test_a_run_survives_kills_and_torn_files(series):
    assert survived_all(series.kill_everywhere(every=97))


def test_a_run_survives_kills_while_it_overwrites_a_damaged_checkpoint(lab, options, finished):
    overwriting = Series(lab, options, prepare=damage_newest(finished))
    assert "step-000007: file 'state-00.safetensors'" in overwriting.reference.result["passed_over"][0]
    assert survived_all(overwriting.kill_everywhere(every=35, offset=12))


def test_a_run_survives_kills_at_random_times(series):
    assert survived_all(series.kill_at_random(2))


def test_two_processes_survive_a_kill_of_the_one_that_writes(lab, options):
    assert survived_all(Series(lab, options, ranks=2).kill_everywhere(every=90, offset=60))


def test_a_process_that_runs_out_of_memory_halves_its_micro_batch_without_the_other(lab, options, tmp_path):
    """The update stays the same, and so does the rest of a run that is resumed where memory suffices."""
    train = {
        "num_train_epochs": 4,
        "per_device_batch_size": 4,
        "on_oom": "halve",
        "logging_steps": 1,
        "fast_path": "off",
    }
    starved = {**options, "train": train, "lora": {"dropout": 0}, "starve": [None, 2]}

    def losses(outcome):
        return [record["loss"] for record in outcome.result["log"] if "loss" in record]

    def run(name, **changed):
        (tmp_path / name).mkdir(exist_ok=True)
        return lab.run(tmp_path / name, options={**starved, **changed}, ranks=2)

    ample, scarce = run("ample", starve=None, train={**train, "on_oom": "stop"}), run("scarce")
    events = [record for record in scarce.result["log"] if "event" in record]
    assert events == [{"step": 1, "event": "out of memory", "micro_batch_parts": 2}]
    assert losses(scarce) == pytest.approx(losses(ample), rel=1e-5)
    assert run("cut", stop_after=2).status == (75, 75)
    assert run("cut", starve=None).result["digest"] == scarce.result["digest"]
    assert 8 in run("none", starve=[0, 0]).status  # one ends with the advice, and the launcher ends the other


def test_write_errors_are_retried_or_told_in_one_sentence(series):
    assert survived_all(series.fail_writes(every=149))


def test_sigterm_finishes_the_step_and_saves(lab, options):
    tally = Series(lab, {**options, "train": {"num_train_epochs": 4}}).stop_by_signal(2)
    assert survived_all(tally)
    assert tally.percentile(0.99) < 10


@pytest.mark.parametrize(
    ("scheme", "packed", "optim", "accumulation"),
    [("nf4", True, "paged_adamw_32bit", 2), ("none", False, "paged_adamw_8bit", 3)],
)
def test_resume_is_exact_with_quantized_states(lab, options, scheme, packed, optim, accumulation):
    train = {"num_train_epochs": 2, "optim": optim, "gradient_accumulation_steps": accumulation}
    exact = Series(lab, {**options, "scheme": scheme, "rows": {"packed": packed}, "train": train})
    per_epoch = exact.reference.result["steps"] // 2
    assert [exact.resume_after(step) for step in (per_epoch, per_epoch + 1)] == [None, None]


def test_the_comparison_turns_red_when_a_generator_is_not_restored(lab, options, tmp_path):
    """Of a base that drops by itself: masks of the adapter are drawn from no generator."""
    tiny_base(tmp_path, attention_dropout=0.1)
    series = Series(lab, {"base": str(tmp_path), "train": {**options["train"], "fast_path": "off"}})
    assert series.resume_after(3) is None
    assert "digest differs" in str(series.resume_after(3, forget="torch"))


def test_every_corruption_is_found_and_intact_checkpoints_pass(finished, tmp_path):
    found, intact = corrupt_checkpoints(finished / "run" / "checkpoints", tmp_path, 100)
    assert survived_all(found)
    assert survived_all(intact)


def test_the_laboratory_notices_a_run_that_is_lost(lab, options, tmp_path):
    outcome = lab.run(tmp_path, Fault("kill", 20), options)
    assert outcome.was_killed
    assert outcome.result is None


def test_an_error_of_the_victim_is_told_with_its_exit_code(lab, options, tmp_path):
    outcome = lab.run(tmp_path, options={**options, "stop_after": 1})
    assert (outcome.status, outcome.error["type"]) == ((75,), "RunInterruptedError")
    changed = lab.run(tmp_path, options={**options, "train": {"num_train_epochs": 1, "learning_rate": 1e-3}})
    assert changed.status == (2,)
    assert "train.learning_rate was 0.0002 and is now 0.001" in changed.error["message"]
