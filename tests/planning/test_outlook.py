"""A plan says what is to be fetched, how much disk and scoring time a run takes, and why it takes the plain path."""

from pathlib import Path

import pytest

from medtune import MedTuner
from medtune.data.hub.models import loadable
from medtune.plugins.host import create_host
from medtune.specs import ModelSpec
from medtune.testing.hub import pointed_at, serve_hub
from medtune.testing.hub_contents import StandInHub

COMMIT = "a" * 40
BASE = Path(str(create_host(autoload=False).find("bundle", "demo").spec.model.path))
FILES = {**{file.name: file.read_bytes() for file in BASE.iterdir() if file.is_file()}, "notes.bin": bytes(9000)}


def planned(gpu=None, **overrides):
    return MedTuner.from_defaults(**overrides).plan(gpu)


def test_what_is_not_here_is_estimated_from_the_model_s_size():
    plan = planned()
    assert plan.download_bytes == {"model": 2 * 7_241_748_480, "data": None}
    assert plan.disk_bytes > plan.download_bytes["model"] + 3 * 55_000_000
    assert "14.5 GB of model" in plan.download
    assert plan.to_json()["download"] == plan.download


def test_what_is_here_is_not_fetched_again(tmp_path):
    with serve_hub(StandInHub(models={"org/base": {COMMIT: FILES}})) as hub, pointed_at(hub, tmp_path):
        model = {"name": "org/base", "revision": COMMIT}
        assert planned(model=model).download_bytes["model"] is None  # only the hub knows
        loadable(ModelSpec(**model))
        assert planned(model=model).download_bytes["model"] == 0
        weights = next((tmp_path / "hub").glob("*/snapshots/*/model.safetensors"))
        weights.resolve().unlink()
        hub.asked.clear()
        assert planned(model=model).download_bytes["model"] == len(FILES["model.safetensors"])
        assert hub.asked == []


def test_local_files_are_nothing_to_fetch(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    plan = planned(model=str(BASE), data=str(tmp_path / "rows.jsonl"))
    assert plan.download_bytes == {"model": 0, "data": 0}
    assert plan.download.startswith("nothing to fetch")


def test_scoring_takes_time_by_rows_and_none_where_nothing_is_scored():
    usual = planned("h200").scoring_seconds
    assert 1 < usual < 120
    assert planned("h200", eval={"rows_per_source": 500}).scoring_seconds == pytest.approx(10 * usual)
    assert planned("h200", eval={"enabled": False}).scoring_seconds is None


def test_a_t4_takes_the_fast_path_in_fp16():
    plan = planned("t4")
    assert (plan.path, plan.compute_dtype, plan.path_reason) == ("fast", "fp16", "")


def test_a_plan_for_the_plain_path_says_why():
    plan = planned("t4", quant={"scheme": "int8"})
    assert plan.path == "plain"
    assert "int8" in plan.path_reason
    assert f"plan: the plain path, because {plan.path_reason}" in plan.lines()
    assert planned("h200").path_reason == ""


def test_a_plan_in_lines_names_machine_length_and_terms():
    lines = planned("h200").lines()
    assert lines[0].startswith("plan: NVIDIA H200")
    assert any("26,856 updates, over 55,000,000 tokens" in line for line in lines)
    assert sum(line.startswith("terms of ") for line in lines) == 3  # of the base, the rows, and rows under agreements


def test_a_gpu_that_is_known_by_its_memory_only_has_no_time_of_scoring():
    assert planned("16GiB").scoring_seconds is None
