"""A plan promises minutes up to the score, stage by stage, each with its basis, or says why it does not."""

import json

import pytest

from medtune import MedTuner
from medtune.machine.probes import product_speed, read_speed
from medtune.workflow.stage_times import StageTimes

STAGES = ["load", "prepare", "train", "score", "total"]


@pytest.fixture(scope="module")
def demo_plan():
    return MedTuner.from_bundle("demo").plan()


def test_every_stage_of_a_run_on_a_cpu_has_minutes_and_what_they_rest_on(demo_plan):
    assert list(demo_plan.minutes) == list(demo_plan.minutes_basis) == STAGES
    assert all(minutes is not None and minutes > 0 for minutes in demo_plan.minutes.values())
    parts = [demo_plan.minutes[name] for name in STAGES[:-1]]
    assert demo_plan.minutes["total"] == pytest.approx(sum(parts), abs=1e-3)
    assert "measured on this CPU" in demo_plan.minutes_basis["train"]
    json.dumps(demo_plan.to_json(), allow_nan=False)


def test_training_takes_as_many_minutes_as_there_are_steps(demo_plan):
    half = MedTuner.from_bundle("demo", train={"max_steps": 180}).plan()
    assert demo_plan.seconds == pytest.approx(2 * half.seconds)
    assert demo_plan.minutes["train"] - half.minutes["train"] == pytest.approx(half.seconds / 60, abs=1e-3)


def test_what_is_not_known_is_not_promised():
    plan = MedTuner.from_defaults().plan()  # its base is not here, and a CPU cannot train it
    assert plan.minutes["load"] is None
    assert plan.minutes_basis["load"] == "not estimated: the base's weights are not on this machine yet"
    assert plan.minutes["total"] is None
    assert "load" in plan.minutes_basis["total"]
    assert any(line.startswith("minutes to load: not estimated") for line in plan.lines())


def test_another_machine_s_disk_and_cores_are_not_measured_here():
    plan = MedTuner.from_bundle("demo").plan("h200")
    assert plan.minutes["load"] is None
    assert plan.minutes["prepare"] is None
    assert plan.minutes["train"] > 0
    assert plan.minutes["score"] > 0


def test_nothing_scored_is_no_minute_of_scoring():
    plan = MedTuner.from_bundle("demo", eval={"enabled": False}).plan()
    assert plan.minutes["score"] == 0
    assert plan.minutes["total"] is not None


def test_rows_that_are_kept_already_are_not_prepared_again():
    data = {"source": "package:medtune.demo/rows/train.jsonl.gz", "cache": False}
    kept, again = MedTuner.from_bundle("demo").plan(), MedTuner.from_bundle("demo", data=data).plan()
    assert "kept already" in kept.minutes_basis["prepare"]
    assert again.minutes["prepare"] is None or again.minutes["prepare"] > kept.minutes["prepare"]


def test_one_process_measures_once():
    assert product_speed(64, 128) == product_speed(64, 128) > 1e7


def test_a_disk_is_measured_on_a_file_that_is_large_enough(tmp_path):
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(bytes(3 * 2**20))
    small.write_bytes(b"x")
    assert read_speed(large) > 1e6
    assert read_speed(small) is None
    assert read_speed(tmp_path / "none") is None


def test_times_of_an_interrupted_run_are_added_to():
    times = StageTimes()
    assert times.compared({}) == {}
    times.begin_at({"minutes": {"measured": {"train": 2.0, "total": 2.0}}})
    with times.of("train"):
        so_far = times.compared({"train": 1.0})["minutes"]
    assert so_far["promised"] == {"train": 1.0}
    assert so_far["measured"]["train"] >= 2.0
    with times.of("score"):
        pass
    found = times.compared({"train": 1.0})["minutes"]["measured"]
    assert found["total"] == pytest.approx(found["train"] + found["score"], abs=1e-3)
    assert list(found) == ["train", "score", "total"]
