"""Runs on a real Ray: workers that die come back, settings are swept, and nothing leaves the machine."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from ray_commands import SPEC, Command, until

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed; `make ray-test` installs it")


_QUERY = r"\1\0\0\1\0\0\0\0\0\0"
_OF_THIS_MACHINE = r"\0011\0010\0010\003127\7in-addr\4arpa"
"""A question to a name server, and the one for the name of 127.0.0.1, as strace writes them."""


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def steps_of(run):
    place = run / "log.jsonl"
    return place.read_text().count("\n") if place.exists() else 0


def workers_beside(run):
    """The process ids of the workers: the first owns the folder, the others have its parent and its name."""
    first = json.loads((run / ".lock-owner.json").read_text())["pid"]
    found = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]
    others = [pid for pid in found if pid != first and (_parent(pid), _title(pid)) == (_parent(first), _title(first))]
    return first, others


def _parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0][:19]
    except OSError:
        return None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "run.toml").write_text(SPEC)
    code, told, said = Command(folder, cache).run("run.toml", "--workers", "2", "--out", "run")
    assert (code, told["state"], told["restarts"]) == (0, "finished", 0), said
    return folder / "run"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_comes_back_and_the_losses_are_those_of_an_undisturbed_run(rank, medtune_ray, undisturbed):
    started, run = medtune_ray.start("run.toml", "--workers", "2", "--out", "run"), medtune_ray.folder / "run"
    until(lambda: steps_of(run) >= 5, "the fifth step", started)
    first, others = workers_beside(run)
    assert len(others) == 1
    os.kill([first, *others][rank], signal.SIGKILL)
    code, told, said = medtune_ray.read(started)
    assert (code, told["state"], told["restarts"]) == (0, "finished", 1), said
    assert losses(run) == losses(undisturbed)
    adapter = "adapter/adapter_model.safetensors"
    assert (run / adapter).read_bytes() == (undisturbed / adapter).read_bytes()


def test_a_signal_saves_and_the_same_command_goes_on(medtune_ray, undisturbed):
    arguments, run = ("run.toml", "--workers", "2", "--out", "run"), medtune_ray.folder / "run"
    started = medtune_ray.start(*arguments)
    until(lambda: steps_of(run) >= 3, "the third step", started)
    started.send_signal(signal.SIGTERM)
    code, told, said = medtune_ray.read(started)
    assert (code, told["error"]["type"]) == (75, "RunInterruptedError"), said
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    code, told, said = medtune_ray.run(*arguments)
    assert (code, told["restarts"]) == (0, 0), said
    assert losses(run) == losses(undisturbed)


@pytest.fixture
def kept():
    """A folder for Ray's files, with a path short enough for its sockets."""
    with tempfile.TemporaryDirectory(prefix="k-", dir="/tmp") as folder:
        yield Path(folder)


def test_a_run_that_medtune_refuses_ends_with_its_exit_code(medtune_ray, kept):
    (medtune_ray.folder / "rows.jsonl").write_text('{"instruction": "Mrs Example has a fever", "output": ""}\n' * 8)
    code, told, said = medtune_ray.run("run.toml", "--set", "data.source=rows.jsonl", "--out", "run", "--ray-dir", kept)
    assert (code, told["error"]["exit_code"]) == (3, 3), said
    logs = [place for place in kept.rglob("*") if place.is_file()]
    assert len(logs) > 10
    notes = [place for place in (medtune_ray.folder / "run.ray").rglob("*") if place.is_file()]
    assert [place for place in logs + notes if b"Mrs Example" in place.read_bytes()] == []


def test_a_sweep_trains_each_setting_and_names_the_best(medtune_ray):
    code, told, said = medtune_ray.run(
        "run.toml", "--grid", "train.learning_rate=1e-5,3e-3", "--set", "train.max_steps=8", "--out", "runs"
    )
    assert code == 0, said
    assert [trial["settings"] for trial in told["trials"]] == [
        {"train.learning_rate": "1e-5"},
        {"train.learning_rate": "3e-3"},
    ]
    assert told["judged_by"] == "train_loss"
    assert told["best"] == {"train.learning_rate": "3e-3"}
    assert [trial["error"] for trial in told["trials"]] == [None, None]
    rates = [json.loads((Path(trial["run"]) / "run.json").read_text())["spec"]["train"] for trial in told["trials"]]
    assert [rate["learning_rate"] for rate in rates] == [1e-5, 3e-3]


def test_nothing_leaves_the_machine_and_nobody_else_gets_in(medtune_ray, kept):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = medtune_ray.folder / "trace"
    before = ["strace", "-f", "-qq", "-e", "trace=connect,bind,sendto,sendmmsg", "-s", "300", "-o", str(trace)]
    run = medtune_ray.folder / "run"
    limits = ("--set", "train.max_steps=2")
    started = medtune_ray.start("run.toml", *limits, "--out", "run", "--ray-dir", kept, before=before)
    until((run / "run.json").exists, "the run", started, seconds=300)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert stat.S_IMODE((kept / "token").stat().st_mode) == 0o600
    assert not _gets_in(next(kept.glob("r/session_2*/gcs_server_port_*")).read_text())
    code, _told, said = medtune_ray.read(started)
    assert code == 0, said
    calls = [line for line in trace.read_text(errors="replace").splitlines() if "AF_INET" in line]
    connects = [line for line in calls if " connect(" in line]
    assert len(connects) > 5
    # torch looks up the name of 127.0.0.1, which asks a name server where /etc/hosts has none
    assert [line for line in connects if not re.search(r"127\.0\.0\.1|::1\"|AF_UNSPEC|htons\(53\)", line)] == []
    asked = [line for line in trace.read_text(errors="replace").splitlines() if _QUERY in line]
    assert [line for line in asked if _OF_THIS_MACHINE not in line] == []


def _gets_in(port):
    """Whether a process without the token can run code there."""
    code = f"import ray; ray.init(address='127.0.0.1:{port}', log_to_driver=False); print('in')"
    names = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**names, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32, "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return "in" in done.stdout.split()
