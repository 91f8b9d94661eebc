"""``medtune sweep`` as a scheduler sees it: killed anywhere, and simply run again."""

import hashlib
import json
import signal
import subprocess
import sys

import pytest

from medtune.cli.app import run
from medtune.testing.tiny import tiny_base

SPEC = """
[quant]
scheme = "none"
[train]
max_length = 128
max_steps = 8
gradient_accumulation_steps = 1
logging_steps = 1
save_strategy = "no"
[eval]
every = "never"
max_new_tokens = 2
rows_per_source = 6
[data]
source = {rows}
validation_fraction = 0.4
[model]
path = {base}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    tiny_base(place / "base")
    row = {"instruction": "Relation?", "output": "Neutral", "source": "MedNLI"}
    rows = [{**row, "input": f"Sentence 1: {n} coughs.\nSentence 2: {n} is ill."} for n in range(16)]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = {"rows": json.dumps(str(place / "rows.jsonl")), "base": json.dumps(str(place / "base"))}
    (place / "sweep.toml").write_text(SPEC.format(**places))
    return place


def command(folder, out, *more):
    grid = ("--grid", "lora.r=2,4", *more)
    return ["sweep", str(folder / "sweep.toml"), *grid, "--halving", "--out", str(out), "--json"]


def killed(arguments, line):
    """Run the command, and kill it once it says something that holds ``line``."""
    with subprocess.Popen([sys.executable, "-m", "medtune", *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line in said for said in iter(process.stderr.readline, "")), line
        process.kill()
        return process.wait()


def chosen(out):
    found = json.loads((out / "sweep.json").read_text())
    file = out / "runs" / found["winner"]["name"] / "adapter" / "adapter_model.safetensors"
    return found["winner"]["name"], hashlib.sha256(file.read_bytes()).hexdigest(), found["sentence"]


def test_a_killed_sweep_goes_on_with_the_same_command_and_a_finished_one_says_so(folder, tmp_path, capsys):
    out = tmp_path / "s"
    assert killed(command(folder, out), "2-r=4: to 0.5") == -signal.SIGKILL
    assert run(command(folder, out)) == 0
    told = capsys.readouterr()
    result = json.loads(told.out)
    assert "1-r=2: to 0.5" not in told.err  # it was done before
    assert "2-r=4: to 0.5" in told.err
    assert (result["state"], result["sweep"], result["winner"]["by"]) == ("finished", str(out), "loss")
    assert result["winner"]["name"] in {one["name"] for one in result["settings"]}
    assert run(command(folder, out)) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert run(command(folder, out, "--by", "macro")) == 2
    assert "holds another sweep (it differs in spec, by)" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--grid", "lora.r"], ["--grid", "eval.alpha=0.1,0.2"], ["--random", "1"]])
def test_a_grid_that_is_none_ends_with_2_and_makes_no_folder(folder, tmp_path, wrong):
    assert run(["sweep", str(folder / "sweep.toml"), *wrong, "--out", str(tmp_path / "s")]) == 2
    assert not (tmp_path / "s").exists()


@pytest.mark.proof
def test_wherever_a_sweep_is_killed_it_ends_with_the_same_adapter(folder, tmp_path):
    more = ("--grid", "train.learning_rate=1e-3,1e-2")
    assert run(command(folder, tmp_path / "whole", *more)) == 0
    points = (
        "1-r=2,learning_rate=0.001: to 0.25",
        "loading the base model",
        "scoring the base model",
        "step 1/8",
        "step 2/8",
        "3-r=4,learning_rate=0.001: to 0.25",
        "to 0.5",
        "step 3/8",
        "to its end",
        "step 7/8",
        "saving the adapter",
        "scoring the tuned model",
        "writing the report",
        "choosing",
    )
    for line in points:
        assert killed(command(folder, tmp_path / "killed", *more), line) == -signal.SIGKILL
    assert run(command(folder, tmp_path / "killed", *more)) == 0
    assert chosen(tmp_path / "killed") == chosen(tmp_path / "whole")
