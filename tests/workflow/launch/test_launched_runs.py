"""Runs that launched files start, for real: two processes by torchrun, told to stop, put back and finished."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from medtune import MedTuner
from medtune.runs.folder import RunFolder
from medtune.testing.tiny import tiny_base
from medtune.workflow.launch.torchrun import exit_code_of

SPEC = """
output_dir = "the run"
[quant]
scheme = "none"
[train]
max_length = 128
max_steps = {steps}
lr_scheduler_type = "constant"
gradient_accumulation_steps = 2
logging_steps = 1
[eval]
enabled = false
[data]
source = "rows.jsonl"
[model]
path = "base"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then for ((n = 0; n < SLURM_NNODES; n++)); do echo localhost; done; else echo "$@" >> "$REQUEUED"; fi
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
trap 'kill -TERM "${pids[@]}"' TERM
pids=()
for ((n = 0; n < SLURM_NNODES; n++)); do SLURM_NODEID=$n "$@" & pids+=($!); done
worst=0
for pid in "${pids[@]}"; do
  while :; do wait "$pid"; code=$?; kill -0 "$pid" 2>/dev/null || break; done
  ((code > worst)) && worst=$code
done
exit "$worst"
"""


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([75, 75], 75),
        ([-9, 1], 75),
        ([1, 75], 75),
        ([8, 75], 8),
        ([2, 2], 2),
        ([1, 1], 1),
        ([-11], 75),
        ([130, 1], 130),
    ],
)
def test_one_code_stands_for_those_of_all_processes(codes, code):
    assert exit_code_of(codes) == code == exit_code_of(reversed(codes))


@pytest.mark.parametrize(("ends", "code"), [("sys.exit(8 if rank else 0)", 8), ("rank or os.kill(os.getpid(), 9)", 75)])
def test_torchrun_ends_with_the_code_of_the_process_that_failed(ends, code, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(f"import os, sys, time\nrank = int(os.environ['RANK'])\n{ends}\ntime.sleep(60)\n")
    start = [sys.executable, "-m", "medtune.workflow.launch.torchrun", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*start, "--max-restarts", "0", program], check=False, capture_output=True)
    assert done.returncode == code, done.stderr.decode()[-1000:]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a base and rows, and the programs and variables of a Slurm job over two machines."""
    tiny_base(tmp_path / "base")
    row = {"instruction": "Relation?", "output": "Neutral", "source": "MedNLI"}
    rows = [{**row, "input": f"Sentence 1: {n} coughs.\nSentence 2: {n} is ill."} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o700)
    number = 20_000 + os.getpid() % 10_000  # of the job, from which its port follows
    facts = {"JOB_ID": f"{number}", "NNODES": "2", "JOB_NODELIST": "node-[0-1]", "CPUS_PER_TASK": "1"}
    for name, value in facts.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("REQUEUED", str(tmp_path / "requeued"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def launched(place, steps):
    (place / "run.toml").write_text(SPEC.format(steps=steps))
    MedTuner.from_file("run.toml").launch("slurm", "files", nodes=2, minutes=30)
    return ["bash", str(place / "files" / "train.sbatch")]


@pytest.mark.proof
def test_a_batch_job_over_two_machines_saves_at_its_limit_goes_back_into_the_queue_and_ends(place):
    log = place / "the run" / "log.jsonl"
    with subprocess.Popen(launched(place, 100_000), stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") > 2):
            assert process.poll() is None, process.stderr.read().decode()[-2000:]
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # as Slurm does, to the script alone
        assert process.wait(100) == 75, process.stderr.read().decode()[-2000:]
    folder = RunFolder(place / "the run")
    assert (place / "requeued").read_text().split() == ["requeue", os.environ["SLURM_JOB_ID"]]
    assert folder.state == "interrupted"
    done = log.read_text().count("\n")
    assert (folder.checkpoints_dir / f"step-{done:06}").is_dir()
    assert subprocess.run(launched(place, done + 2), check=False).returncode == 0
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [*range(1, done + 3)]
    assert folder.state == "finished"
    assert (place / "requeued").read_text().count("requeue") == 1
    assert subprocess.run(launched(place, done + 2), check=False).returncode == 0  # nothing to do


@pytest.mark.proof
def test_of_several_processes_one_tells_and_prints_the_result(place):
    (place / "run.toml").write_text(SPEC.format(steps=1))
    start = [sys.executable, "-m", "medtune.workflow.launch.torchrun", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*start, "-m", "medtune", "train", "run.toml", "--json"], check=False, capture_output=True)
    told = done.stderr.decode()
    assert done.returncode == 0, told[-2000:]
    assert "licences" in json.loads(done.stdout)  # one object, which two would not be
    assert told.count("medtune training for 1 step") == 1
