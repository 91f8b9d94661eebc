"""The measuring scripts run as commands, on little."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
DEMO_BASE = ROOT / "src" / "medtune" / "demo" / "base"


def printed(script: str, *arguments: str, limit: float = 280) -> str:
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_scoring_is_measured():
    measured = json.loads(printed("score.py", "400"))
    assert 390 <= measured["rows"] <= 400  # as many of each source
    assert measured["exit_code"] == 0
    assert measured["cpu_seconds"] > 0


def test_what_mapping_and_the_lint_add_is_measured():
    found = json.loads(printed("mapping.py", "--rows", "2000"))
    assert (found["rows"], found["rows_prepared"]) == (2000, 2000)
    assert 0 < found["lint_seconds"] <= found["preparation_seconds_without"]


@pytest.mark.proof
def test_mapping_and_the_lint_of_a_million_rows_cost_little():
    found = json.loads(printed("mapping.py", "--rows", "1000000", limit=3000))
    assert found["rows"] == 1_000_000
    assert found["added_share"] <= 0.15
    assert found["added_mib"] <= 300


@pytest.mark.proof
def test_preparation_is_measured_against_the_tokenizer_and_trl():
    out = printed(
        "prepare.py", "--rows", "300", "--trl-rows", "50", "--tokenizer", str(DEMO_BASE), "--max-length", "256"
    )
    results = json.loads(out.splitlines()[-1])["results"]
    assert {row["engine"] for row in results if row["tokens"] > 0} == {"tokenizers", "medtune", "cache", "trl"}


@pytest.mark.proof
def test_a_whole_run_is_measured_against_its_steady_rate(tmp_path):
    out = tmp_path / "whole.json"
    printed("whole_run.py", str(out), "--tiny", "--steps", "8", "--schemes", "none", "--base", str(tmp_path / "base"))
    [figures] = json.loads(out.read_text())["runs"]
    assert figures["whole"] > 0
    assert figures["bare"] > 0


@pytest.mark.proof
def test_the_endpoint_is_measured_against_the_offline_generator(tmp_path):
    out = tmp_path / "serve.json"
    printed("serve.py", str(out), "--tiny", "--prompts", "24", "--new", "8", "--clients", "8")
    figures = json.loads(out.read_text())
    for kind in ("unlike", "alike"):
        assert figures[kind]["served_tokens_per_second"] > 0
        assert figures[kind]["share"] > 0


@pytest.mark.proof
def test_an_adapter_is_held_against_baselines(tmp_path):
    rows = FOLDER.parent / "src" / "medtune" / "demo" / "rows"
    files = []
    for name in ("train", "test"):
        with gzip.open(rows / f"{name}.jsonl.gz", "rt") as lines:
            some = [line for line in lines if "demo-ner-disease" in line][:40]
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("".join(some))
    sets = [f"--set={each}" for each in ("train.max_steps=2", "train.num_train_epochs=null", "eval.max_new_tokens=8")]
    out = printed("baseline_ncbi.py", str(DEMO_BASE), *map(str, files), "--out", str(tmp_path / "run"), *sets)
    found = json.loads(out.splitlines()[-1])
    assert found["systems"].keys() == {"base", "tuned", "dictionary", "few-shot:3"}
    assert found["rows"] == found["systems"]["tuned"]["rows"] > 10


def test_what_several_gpus_are_worth_is_measured_in_pieces(tmp_path):
    out = tmp_path / "scale.json"
    out.write_text(
        json.dumps({"speed-none-acc1-x1": {"tokens_per_second": 100}, "speed-none-acc1-x2": {"tokens_per_second": 190}})
    )
    listed = printed("scale.py", str(out), "--tiny", "--gpus", "1", "2", "--list").splitlines()
    assert {
        "speed-none-acc1-x2  done",
        "equal-none-x2",
        "fault-kill-x2",
        "fault-oom-x2",
        "fsdp-none-x2",
        "answers-x2",
    } <= {*listed}
    assert "95.0%" in printed("scale.py", str(out), "--tiny", "--table")
