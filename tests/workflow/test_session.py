"""A training is alone in its process, leaves the process as it was, and can be cancelled from anywhere."""

import hashlib
import logging
import multiprocessing
import os
import random
import signal
import threading
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from medtune import MedTuner, Run, RunSpec
from medtune.errors import ProcessBusyError, RunIdleError, RunInterruptedError, RunLockedError, UnknownKeyError
from medtune.planning.make_plan import make_plan
from medtune.plugins.host import create_host
from medtune.runs.log import RunLog
from medtune.runs.turn import TrainingTurn
from medtune.testing.tiny_run import TIMED
from medtune.workflow.state import RunRequest

STEPS = 6


@pytest.fixture
def tuner(base, rows, tmp_path):
    """Return what makes a tuner whose run lies in a folder of that name."""
    host = create_host(autoload=False)

    def make(name="run", **train):
        spec = MedTuner.from_defaults(
            plugins=host, model=str(base), data={"source": "rows", "validation_fraction": 0.2}, quant={"scheme": "none"},
            train={"max_length": 192, "num_train_epochs": None, "max_steps": STEPS, "logging_steps": 1, **train},
            eval={"enabled": False}, output_dir=str(tmp_path / name),
        ).spec  # fmt: skip
        return MedTuner(spec, plugins=host, rows=rows)

    return make


def outcome(run):
    """Return what must not depend on how often a run was stopped."""
    log = RunLog(run.path / "log.jsonl").read()
    adapter = (run.adapter_dir / "adapter_model.safetensors").read_bytes()
    lines = [{key: value for key, value in record.items() if key not in TIMED} for record in log]
    return hashlib.sha256(adapter).hexdigest(), run.metrics["steps"], lines


def cancelled_at(step, how):
    """Return what is told of each update, and asks to cancel after one of them."""

    def on_step(record):
        if record["step"] == step:
            how()

    return on_step


def as_process():
    """Return what the process is set to, as far as a training could change it."""
    return {
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "filters": list(warnings.filters),
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
        "handlers": [repr(handler) for handler in logging.getLogger().handlers],
        "level": logging.getLogger().level,
        "levels": {n: logging.getLogger(n).level for n in ("medtune", "transformers", "datasets", "trl", "peft")},
        "disabled": logging.root.manager.disable,
    }


def test_a_training_leaves_the_process_as_it_was(tuner):
    tuner("first", max_steps=1).train(quiet=True)  # what libraries set up once, as they load, is none of a training's
    random.seed(1)
    before = as_process()
    tuner("second", max_steps=1).train(quiet=True)
    after = as_process()
    assert [name for name in before if before[name] != after[name]] == []


def test_what_a_training_changes_is_put_back_when_it_fails(tuner):
    before = as_process()

    def on_step(_record):
        random.seed(3)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(mode=True)
        os.environ["SET_BY_A_TRAINING"] = "1"
        warnings.simplefilter("ignore")
        logging.getLogger("trl").setLevel(3)
        torch.set_num_threads(3)
        raise ValueError("of the caller")

    with pytest.raises(ValueError, match="of the caller"):
        tuner().train(quiet=True, on_step=on_step)
    after = as_process()
    assert [name for name in before if before[name] != after[name]] == []


def test_a_second_training_in_one_process_is_refused_and_the_first_is_as_alone(tuner, tmp_path):
    wanted = outcome(tuner("alone").train(quiet=True))
    refused = []

    def on_step(record):
        if record["step"] == 2:
            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()

    def begin():
        with pytest.raises(ProcessBusyError) as caught:
            tuner("second").train(quiet=True)
        refused.append(caught.value)

    assert outcome(tuner("first").train(quiet=True, on_step=on_step)) == wanted
    assert refused[0].running == str(tmp_path / "first")
    assert (refused[0].path, refused[0].pid, refused[0].exit_code) == (str(tmp_path / "second"), os.getpid(), 5)
    assert "cannot begin while this process trains" in str(refused[0])
    assert isinstance(refused[0], RunLockedError)
    assert not (tmp_path / "second").exists()
    assert outcome(tuner("second").train(quiet=True)) == wanted  # its turn came


def test_a_forked_child_of_a_training_may_train(tmp_path):
    def take():
        with TrainingTurn(tmp_path / "other"):
            os._exit(0)

    with TrainingTurn(tmp_path / "run"):
        child = multiprocessing.get_context("fork").Process(target=take)
        child.start()
        child.join()
    assert child.exitcode == 0


def test_a_training_in_another_thread_is_as_in_the_main_one(tuner):
    wanted, found = outcome(tuner("main").train(quiet=True)), []
    thread = threading.Thread(target=lambda: found.append(outcome(tuner("other").train(quiet=True))))
    thread.start()
    thread.join()
    assert found == [wanted]


@pytest.mark.parametrize("way", [pytest.param("event", marks=pytest.mark.proof), "path"])
def test_a_cancelled_run_is_saved_after_its_update_and_resumes_bit_for_bit(tuner, tmp_path, way):
    wanted, event = outcome(tuner("whole").train(quiet=True)), threading.Event()
    asks = event.set if way == "event" else lambda: Run.cancel(tmp_path / "run")
    with pytest.raises(RunInterruptedError) as caught:
        tuner().train(quiet=True, cancel=event, on_step=cancelled_at(3, asks))
    assert (caught.value.reason, caught.value.step, caught.value.exit_code) == ("cancel", 3, 75)
    assert Run.open(tmp_path / "run").state == "interrupted"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000003"]
    assert not (tmp_path / "run" / ".cancel.json").exists()
    assert outcome(tuner().train(quiet=True)) == wanted


@pytest.mark.proof
def test_a_run_cancelled_at_a_hundred_random_steps_resumes_bit_for_bit(tuner, tmp_path):
    wanted, draw, survived = outcome(tuner("whole").train(quiet=True)), random.Random(7), 0
    for trial in range(100):
        name, step, event = f"trial-{trial}", draw.randrange(1, STEPS), threading.Event()
        asks = event.set if draw.random() < 0.5 else lambda name=name: Run.cancel(tmp_path / name)
        with pytest.raises(RunInterruptedError, match=f"at step {step} "):
            tuner(name).train(quiet=True, cancel=event, on_step=cancelled_at(step, asks))
        survived += outcome(tuner(name).train(quiet=True)) == wanted
    print(f"cancelled at random steps: {survived} of 100 resumed bit for bit")
    assert survived == 100


def test_a_run_cancelled_before_it_begins_does_no_update(tuner, tmp_path):
    event = threading.Event()
    event.set()
    with pytest.raises(RunInterruptedError, match=r"at step 0 \(cancel\)"):
        tuner().train(quiet=True, cancel=event)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_run_cancelled_while_its_rows_are_read_loads_no_model(tuner, tmp_path):
    event, stages = threading.Event(), []

    def on_stage(sentence):
        stages.append(sentence)
        event.set()

    with pytest.raises(RunInterruptedError, match=r"at step 0 \(cancel\)"):
        tuner().train(quiet=True, cancel=event, on_stage=on_stage)
    assert not any("loading" in sentence for sentence in stages)
    assert Run.open(tmp_path / "run").state == "interrupted"


def test_where_nobody_trains_there_is_nothing_to_cancel(tuner, tmp_path):
    tuner(max_steps=1).train(quiet=True)
    for path in (tmp_path / "run", tmp_path / "nowhere"):
        with pytest.raises(RunIdleError, match="no process trains run") as caught:
            Run.cancel(path)
        assert (caught.value.path, caught.value.exit_code) == (str(path), 5)


def test_an_option_of_train_that_does_not_exist_is_named_with_the_nearest_one(tuner):
    with pytest.raises(UnknownKeyError, match="did you mean 'cancel'"):
        tuner().train(cancle=threading.Event())


def test_a_relative_run_folder_stays_where_it_was_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = RunSpec(output_dir="run")
    asked = RunRequest(spec, create_host(autoload=False), make_plan(spec, create_host(autoload=False)))
    monkeypatch.chdir("/")
    assert asked.folder.path == tmp_path / "run"
    assert replace(asked, run_id="a").folder.path == tmp_path / "run"
