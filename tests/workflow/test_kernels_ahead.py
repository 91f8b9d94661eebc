"""Kernels are compiled by a process of its own where there are some to compile, and it can do no harm."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from medtune import MedTuner
from medtune.workflow import kernels_ahead
from medtune.workflow.kernels_ahead import compiled_ahead, job_for, note_of
from medtune.workflow.kernels_program import do_job

DEMO = MedTuner.from_bundle("demo", train={"max_length": 64, "per_device_batch_size": 1})
CONFIG = json.loads((Path(DEMO.spec.model.path) / "config.json").read_text())


@pytest.fixture(scope="module")
def on_a_gpu():
    plan = replace(DEMO.plan("h200"), parameters=7_000_000_000)
    return plan, plan.settle(DEMO.spec)


def test_nothing_is_started_on_a_cpu():
    plan = DEMO.plan()
    assert job_for(plan.settle(DEMO.spec), plan, CONFIG, 80) is None
    with compiled_ahead(None, pytest.fail):
        pass


def test_nothing_is_started_off_the_fast_path_beside_other_processes_or_for_backends_of_others(on_a_gpu):
    plan, spec = on_a_gpu
    assert job_for(spec, plan, CONFIG, 80) is not None
    assert job_for(spec, replace(plan, path="plain"), CONFIG, 80) is None
    assert job_for(spec, plan, CONFIG, 80, processes=2) is None
    assert job_for(spec, plan, CONFIG, 0.01) is None  # no room beside the base
    assert job_for(spec, plan, {}, 80) is None
    assert job_for(spec, DEMO.plan("h200"), CONFIG, 80) is None  # loaded sooner than a process is up
    assert job_for(spec, replace(plan, backends={**plan.backends, "trainer": "own"}), CONFIG, 80) is None


def test_a_job_trains_and_answers_on_one_layer(on_a_gpu):
    plan, spec = on_a_gpu
    job = json.loads(json.dumps(job_for(spec, plan, CONFIG, 80)))
    assert job["config"]["num_hidden_layers"] == 1
    do_job({**job, "config": {**job["config"], "vocab_size": 300}})


def test_it_is_done_once_for_a_kind_of_run(on_a_gpu, tmp_path, monkeypatch):
    plan, spec = on_a_gpu
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    job = job_for(spec, plan, CONFIG, 80)
    other = job_for(spec.model_copy_with(lora=spec.lora.model_copy_with(r=4)), plan, CONFIG, 80)
    assert note_of(job, tmp_path) != note_of(other, tmp_path)
    note_of(job, tmp_path).write_text("done\n")
    with compiled_ahead(job, pytest.fail):
        pass


def test_a_process_that_fails_is_told_of_and_hides_no_error(on_a_gpu, tmp_path, monkeypatch):
    plan, spec = on_a_gpu
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(kernels_ahead, "_PROGRAM", program)
    told = []
    with compiled_ahead(job_for(spec, plan, CONFIG, 80), told.append):
        pass
    assert told[0].startswith("compiling kernels meanwhile")
    assert told[1].startswith("compiling kernels ahead did not work")
    program.write_text("import time; time.sleep(60)\n")
    with pytest.raises(OSError, match="of the base"), compiled_ahead(job_for(spec, plan, CONFIG, 80), told.append):
        raise OSError("of the base")
