"""Triton kernels that fail at once give way to reference steps; the run goes on."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny_models import build_model, draw_batch, gradients

from medtune.accel import train as kernels
from medtune.accel.decode import steps as decoding_steps
from medtune.accel.train import recognize, steps
from medtune.accel.triton import use as triton_use


def fail(*_arguments):
    raise RuntimeError("Failed to find C compiler\nof this and that")


@pytest.mark.parametrize("error", [fail, None], ids=["broken", "sound"])
def test_kernels_that_fail_at_once_give_way_to_reference_steps(monkeypatch, caplog, error):
    failures = []
    monkeypatch.setattr(triton_use, "_failures", failures)
    sound = replace(steps.reference_steps(), name="triton")
    chosen = replace(sound, swiglu_backward=fail) if error else sound
    model, batch = build_model("Mistral", lora={"lora_dropout": 0.1}), draw_batch()
    monkeypatch.setattr(recognize, "choose_steps", lambda *_: steps.reference_steps())
    torch.manual_seed(5)
    wanted = gradients(model, kernels.enable(model).loss_sum(*batch))
    monkeypatch.setattr(recognize, "choose_steps", lambda *_: steps.reference_steps() if failures else chosen)
    path = kernels.enable(model)
    torch.manual_seed(5)
    loss, found = gradients(model, path.loss_sum(*batch))
    assert torch.equal(loss, wanted[0])
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted[1].items())
    assert path.steps == ("reference" if error else "triton")
    assert failures == (["RuntimeError: Failed to find C compiler"] if error else [])
    said = [record.message for record in caplog.records if record.name == "medtune.accel.train.fast_path"]
    assert said == [f"the fast path goes on without Triton kernels, slower: {failure}" for failure in failures]
    assert triton_use.has_triton() is (not error and find_spec("triton") is not None)


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_what_training_gave_up_decoding_does_not_try(monkeypatch):
    failures = []
    monkeypatch.setattr(triton_use, "_failures", failures)
    gpu = torch.device("cuda")
    assert decoding_steps.choose_steps(gpu) is not decoding_steps.REFERENCE
    triton_use.give_up_triton("no C compiler")
    assert decoding_steps.choose_steps(gpu) is decoding_steps.REFERENCE


def test_an_error_after_the_first_pass_is_not_taken_for_one_of_triton(monkeypatch):
    monkeypatch.setattr(triton_use, "_failures", [])
    chosen = [replace(steps.reference_steps(), name="triton")]
    monkeypatch.setattr(recognize, "choose_steps", lambda *_: chosen[0])
    model, batch = build_model("Mistral"), draw_batch()
    path = kernels.enable(model)
    gradients(model, path.loss_sum(*batch))
    monkeypatch.setattr(path._stack, "loss_and_gradient", fail)
    with pytest.raises(RuntimeError, match="C compiler"):
        path.loss_sum(*batch)
    assert path.steps == "triton"


def test_a_rehearsal_leaves_nothing_behind(monkeypatch):
    model, batch = build_model("Mistral", lora={"lora_dropout": 0.1}), draw_batch()
    torch.manual_seed(5)
    wanted = gradients(model, kernels.enable(model).loss_sum(*batch))
    path, passes = kernels.enable(model), []
    run = path._stack._forward

    def rubbish(x, step):
        passes.append(len(x))
        return run(torch.full_like(x, float("nan")), step)

    monkeypatch.setattr("medtune.accel.train.stack.Stack._forward", lambda self, x, step: rubbish(x, step))
    path._stack.rehearse(kernels.lay_out(*batch), torch.zeros(1, dtype=torch.int64))
    monkeypatch.undo()
    assert len(passes) == 2  # one more for twice as many pieces
    torch.manual_seed(5)
    loss, found = gradients(model, path.loss_sum(*batch))
    assert torch.equal(loss, wanted[0])
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted[1].items())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_all_kernels_of_a_pass_are_compiled_beforehand_and_fit_the_gpu(tmp_path):
    here = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_offline.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=here | {"TRITON_CACHE_DIR": str(tmp_path)},
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert {"_attend", "_query_gradients", "_key_gradients", "_swiglu", "_swiglu_backward", "_norm"} <= set(
        found["names"]
    )
    first, both = found["asked"]
    assert both == first >= found["made"] > 20  # the second rehearsal asked for none
    assert found["launchers"] == found["made"]
    assert found["attention"] == [2, 2, 2]  # for the pieces of the batch, and for twice as many
    assert 0 < found["most_shared"] <= 232_448


class Kernel:
    """Stands in for a compiled kernel: notes who launched it and who had it compiled."""

    def __init__(self):
        self.ran, self.compiled = [], []

    def __getitem__(self, grid):
        return lambda *given, **options: self.ran.append((threading.current_thread(), grid, given, options))

    def run(self, *given, grid, warmup, **options):
        assert warmup
        self.compiled.append((threading.current_thread(), grid, given, options))


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_a_launch_from_another_thread_is_run_while_kernels_are_only_compiled():
    kernel, me = Kernel(), threading.current_thread()
    other = threading.Thread(target=lambda: triton_use.launch(kernel, (2,))("other", ROWS=4))
    with triton_use.compiled_together():
        triton_use.launch(kernel, (1,))("own", ROWS=4)
        other.start()
        other.join()
    assert kernel.compiled == [(me, (1,), ("own",), {"ROWS": 4})]
    assert kernel.ran == [(other, (2,), ("other",), {"ROWS": 4})]
    triton_use.launch(kernel, (3,))("own")
    assert kernel.ran[1:] == [(me, (3,), ("own",), {})]


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_an_error_while_kernels_are_compiled_leaves_launches_as_they_were():
    kernel = Kernel()
    with pytest.raises(RuntimeError, match="C compiler"), triton_use.compiled_together():
        fail()
    triton_use.launch(kernel, (1,))()
    assert len(kernel.ran) == 1
    assert not kernel.compiled
