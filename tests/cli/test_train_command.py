"""``medtune train`` as a scheduler sees it: exit codes of real processes, and a command that is simply run again."""

import json
import os
import signal
import socket
import subprocess
import sys
from typing import NamedTuple

import pytest

from medtune.cli.app import run
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.record.recording import recorded
from medtune.testing.tiny import tiny_base

ENDLESS = 1_000_000  # updates; free to change on resume where the learning rate is constant
SPEC = """
[quant]
scheme = "none"
[train]
max_length = 128
max_steps = {steps}
lr_scheduler_type = "constant"
gradient_accumulation_steps = 1
logging_steps = 1
[eval]
enabled = false
[data]
source = {rows}
[model]
path = {base}
"""


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("train")
    tiny_base(place / "base")
    row = {"instruction": "Relation?", "input": "A.\nB.", "output": "Neutral", "source": "MedNLI"}
    rows = [{**row, "input": f"Sentence 1: {n} coughs.\nSentence 2: {n} is ill."} for n in range(8)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture
def command(folder, tmp_path):
    """Return the arguments of a run; ``out`` and single fields may be added."""

    def make(steps=4, *more):
        spec = tmp_path / "run.toml"
        places = {"rows": json.dumps(str(folder / "rows.jsonl")), "base": json.dumps(str(folder / "base"))}
        spec.write_text(SPEC.format(steps=steps, **places))
        return ["train", str(spec), "--out", str(tmp_path / "run"), *more]

    return make


def stopped_by(name, arguments):
    """Run the command, send it a signal after an update, and return its exit code and the end of its stderr."""
    with subprocess.Popen([sys.executable, "-m", "medtune", *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("step ") for line in iter(process.stderr.readline, ""))
        process.send_signal(getattr(signal, name))
        return process.wait(), process.stderr.read()


def state(tmp_path):
    """Return the run's state and the step of its newest checkpoint."""
    folder = RunFolder(tmp_path / "run")
    return folder.state, max(int(path.name.partition("-")[2]) for path in folder.checkpoints_dir.glob("step-*"))


def test_the_same_command_goes_on_after_signals_and_time_limits_until_it_is_done(command, tmp_path, capsys):
    code, told = stopped_by("SIGINT", command(ENDLESS))
    assert (code, state(tmp_path)[0]) == (130, "interrupted")
    first = state(tmp_path)[1]
    assert f"interrupted at step {first} (SIGINT) and saved; run it again to resume" in told
    code, told = stopped_by("SIGTERM", command(ENDLESS, "--save-every-minutes", "1e-9"))
    second = state(tmp_path)[1]
    assert (code, second > first, f"at step {second} (SIGTERM)" in told) == (75, True, True)
    assert run(command(ENDLESS, "--max-time", "0.001s")) == 75
    assert "(time limit of 1.66667e-05 minutes)" in capsys.readouterr().err
    assert run(command(second + 1)) == 0
    assert state(tmp_path) == ("finished", second + 1)
    assert run(command(second + 1)) == 0
    assert "this run is finished; nothing to do" in capsys.readouterr().err


def test_a_checkpoint_to_resume_from_must_be_one_of_this_run(command, tmp_path, capsys):
    """A mistyped word, and another run's checkpoint, would start over or go on with other data."""
    for wrong in ("atuo", str(tmp_path / "other" / "step-000002")):
        (tmp_path / "other" / "step-000002").mkdir(parents=True, exist_ok=True)
        assert run(command(4, "--resume", wrong)) == 2
        assert f"resume '{wrong}' is neither auto nor never nor a checkpoint folder in" in capsys.readouterr().err
    assert run(command(4, "--set", "train.save_strategy=steps", "--set", "train.save_steps=2")) == 0
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert run(command(4, "--resume", "never")) == 2
    assert "already holds a run (finished)" in capsys.readouterr().err
    with recorded(tmp_path / "run", "test", ("run.json",)):
        RunFolder(tmp_path / "run").update("interrupted")
    assert run(command(4, "--resume", str(tmp_path / "run" / "checkpoints" / "step-000002"))) == 0
    again = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert again == [json.loads(line)["loss"] for line in log.splitlines()]


def test_a_second_process_ends_with_5_before_it_loads_anything_heavy(command, tmp_path):
    code = "import sys; from medtune.cli.app import run; code = run(sys.argv[1:]); assert 'torch' not in sys.modules"
    with RunLock(tmp_path / "run"):
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(code)", *command()], check=False, capture_output=True, text=True
        )
    assert done.returncode == 5, done.stderr
    assert f"in use by process {os.getpid()} on host '{socket.gethostname()}'" in done.stderr


def test_a_loss_that_is_not_finite_ends_with_7_and_keeps_the_last_checkpoint(command, tmp_path, capsys):
    diverging = command(9, "--set", "train.learning_rate=1e30", "--save-every-minutes", "1e-9")
    assert run(diverging) == 7
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert (record["event"], RunFolder(tmp_path / "run").state) == ("stopped", "failed")
    assert state(tmp_path)[1] == record["step"] - 1
    assert record["row_ids"]
    assert record["row_ids"][0] in capsys.readouterr().err
    assert run([*diverging, "--set", "train.on_nonfinite=skip", "--set", "train.max_skipped_steps=9"]) == 4
    assert "logits that are not finite" in capsys.readouterr().err  # what came of it is no adapter to keep
    assert RunFolder(tmp_path / "run").state == "failed"


def test_a_run_that_cannot_fit_ends_with_8_and_advice(command, capsys):
    assert run(command(4, "--set", "train.per_device_batch_size=100000000")) == 8
    assert "train.per_device_batch_size" in capsys.readouterr().err


def test_a_disk_that_is_too_small_for_the_plan_ends_with_6_before_the_model_is_loaded(command, monkeypatch, capsys):
    monkeypatch.setattr(
        "medtune.runs.durable.shutil.disk_usage", lambda _path: Usage(10**9, 10**9 - 4_000_000, 4_000_000)
    )
    assert run(command(4)) == 6
    told = capsys.readouterr().err
    assert "MiB of free disk space and has 4 MiB" in told
    assert "loading the base model" not in told


@pytest.mark.parametrize("arguments", [("--max-time", "90"), ("--save-every-minutes", "0")])
def test_times_that_mean_nothing_end_with_2(command, arguments):
    assert run(command(4, *arguments)) == 2
