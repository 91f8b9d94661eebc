"""The recipes for embedding medtune do what they say."""

import importlib.util
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from medtune import MedTuner, Run
from medtune.runs.lock import RunLock
from warm_python import run_warm

RECIPES = Path(__file__).parents[2] / "examples" / "embedding"
QUICK = {"train": {"max_steps": 1}, "eval": {"enabled": False}}


def recipe(name):
    """Import a recipe as a program that copied it would; under its own name, so that other processes find it."""
    specification = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that was trained by the recipe for Ray, in a process of its own."""
    out = tmp_path_factory.mktemp("trained") / "run"
    spec = MedTuner.from_bundle("demo", output_dir=out, **QUICK).spec
    tune = recipe("ray_task").tune
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        run = pool.submit(tune, spec).result()
    assert (run.path, run.state) == (out, "finished")
    return out


def test_a_task_asks_a_run_that_came_from_another_process(trained):
    run, ask = Run.open(trained), recipe("ray_task").ask
    wanted = ask(run, "Fever?")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(ask, run, "Fever?").result() == wanted


def test_the_tasks_run_on_ray(tmp_path):
    if find_spec("ray") is None:
        pytest.skip("ray is not installed; its tasks are tried above in processes of Python's own pool")
    spec = MedTuner.from_bundle("demo", output_dir=tmp_path / "run", **QUICK).spec
    assert isinstance(recipe("ray_task").main(spec, "Fever?"), str)


def test_the_service_answers_many_at_once_as_one_by_one(trained, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setenv("MEDTUNE_RUN", str(trained))
    questions = [{"text": f"Fever in patient {number}?", "max_new_tokens": 3} for number in range(8)]
    run = Run.open(trained)
    wanted = [run.generate([{"role": "user", "content": each["text"]}], 3) for each in questions]
    with TestClient(recipe("service").app) as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda each: client.post("/answer", json=each), questions))
    assert [reply.json() for reply in replies] == [{"answer": text} for text in wanted]


@pytest.fixture
def spec_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('bundle = "demo"\n[train]\nmax_steps = 1\n[eval]\nenabled = false\n')
    return file


def test_a_step_of_a_pipeline_returns_the_json_of_its_run(spec_file, tmp_path):
    told = recipe("pipeline_step").train(spec_file, tmp_path / "run")
    assert (told["state"], told["steps"]) == ("finished", 1)
    assert Path(told["adapter"]).is_dir()


def test_a_step_of_a_pipeline_tells_what_is_worth_another_try_from_what_is_not(spec_file, tmp_path):
    step = recipe("pipeline_step")
    with RunLock(tmp_path / "run"), pytest.raises(step.TryAgainLaterError, match="is in use by process"):
        step.train(spec_file, tmp_path / "run")
    with pytest.raises(step.TryAgainLaterError, match="time limit"):
        step.train(spec_file, tmp_path / "other", "--set", "train.max_minutes=0.000001")
    with pytest.raises(RuntimeError, match=r"UnknownKeyError.*did you mean 'max_steps'"):
        step.train(spec_file, tmp_path / "other", "--set", "train.max_step=3")


def test_the_tests_for_a_user_s_repository_pass(tmp_path):
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull]
    done = run_warm([*command, RECIPES / "test_tuning.py"], cwd=Path.cwd())
    assert done.returncode == 0, done.stdout[-2000:]
    assert "4 passed" in done.stdout


def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    book = json.loads((RECIPES / "notebook.ipynb").read_text())
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    shown = [
        f"\nprint(repr(({cell.splitlines()[-1].partition('  #')[0]})))"
        if "=" not in cell.splitlines()[-1].partition("(")[0]
        else ""
        for cell in code
    ]
    program = "\n".join(
        cell.rpartition("\n")[0] + more if more else cell for cell, more in zip(code, shown, strict=True)
    )
    done = run_warm(["-c", program], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    fits, steps, answer = done.stdout.splitlines()
    assert (fits, steps) == ("True", "(2, 'finished')")
    assert answer[0] in "'\""
    assert all(cell.get("outputs", []) == [] for cell in book["cells"])
