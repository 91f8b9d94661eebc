"""The fast path in fp16 on a GPU: fp32 within fp16's error in every form, a scale that graphs see, overflows skipped, resumed."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "accel"))
from test_kernels import WIDE, enabled, in_fp32, of_kind
from test_resume_with_cuda_graphs import SHAPE
from test_resume_with_cuda_graphs import TRAIN as EVERY_OTHER
from tiny_models import build_model, draw_batch, gradients, largest_error, plain_loss

from medtune.accel.train import attention, recognize, steps
from medtune.backends.peft import PeftAdapter
from medtune.backends.random_base import random_base
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows
from medtune.testing.tiny_run import TIMED, adapter_digest

SCALE = 64.0
TRAIN = {**EVERY_OTHER, "logging_steps": 1}


@pytest.mark.parametrize("form", ["triton", "reference"])
@pytest.mark.parametrize("kind", ["bf16", "nf4"])
@pytest.mark.parametrize("family", ["Mistral", "Qwen3"])
def test_gradients_in_fp16_stay_within_the_error_of_eager(kind, family, form, monkeypatch):
    batch = draw_batch(rows=4, length=96)
    model = build_model(family, dtype=torch.float16, prepare=of_kind(kind), **WIDE)
    if form == "reference":
        monkeypatch.setattr(recognize, "choose_steps", lambda *_: steps.reference_steps())
    path = enabled(model, cuda_graphs=False)
    assert path.steps == form
    exact = in_fp32(model)
    loss, wanted = gradients(exact, plain_loss(exact, *batch))
    with torch.autocast("cuda", torch.float16):
        _loss, eager = gradients(model, plain_loss(model, *batch) * SCALE)
    eager = {name: gradient / SCALE for name, gradient in eager.items()}
    path.scale_gradients(torch.tensor(SCALE))
    fast_loss, fast = gradients(model, path.loss_sum(*batch))
    torch.testing.assert_close(fast_loss, loss, rtol=2e-3, atol=0)
    assert largest_error(fast, wanted) < max(1.25 * largest_error(eager, wanted), 0.02)


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("family", ["Mistral", "Qwen3"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_form_of_attention_gives_the_same_gradients_in_fp16_too(family, window, dtype, monkeypatch):
    batch = draw_batch(rows=4, length=96)
    sliding = {"sliding_window": window} if family == "Mistral" else {}
    model = build_model(family, dtype=dtype, **sliding, **WIDE)
    path = enabled(model, cuda_graphs=False)
    results = []
    for form in ("padded", "flash", "triton", "efficient"):
        monkeypatch.setattr(attention, "_form_of", lambda *_, form=form: form)
        results.append(gradients(model, path.loss_sum(*batch)))
    for loss, found in results[1:]:
        torch.testing.assert_close(loss, results[0][0], rtol=2e-3, atol=0)
        assert largest_error(found, results[0][1]) < 0.02


@pytest.mark.parametrize("form", ["triton", "efficient"])
def test_a_cuda_graph_sees_the_scale_of_its_pass(form, monkeypatch):
    monkeypatch.setattr(attention, "_form_of", lambda *_: form)
    batch = draw_batch(rows=4, length=96)
    model = build_model("Mistral", dtype=torch.float16, **WIDE)
    path = enabled(model)
    _loss, wanted = gradients(model, path.loss_sum(*batch))
    for scale in (1.0, 8.0, 256.0):
        path.scale_gradients(torch.tensor(scale))
        assert largest_error(gradients(model, path.loss_sum(*batch))[1], wanted) < 0.01
    path.scale_gradients(torch.tensor(2.0**40))
    _loss, found = gradients(model, path.loss_sum(*batch))
    assert not all(torch.isfinite(gradient).all() for gradient in found.values())
    assert path.failure is None


def train(folder, stop_after=None, scale=None, scheme="none", fast_path="auto"):
    """Train to the end, or up to an update, from the newest checkpoint in ``folder``; return digest, log and scale."""
    from medtune.backends.proved import prove_route  # these load trl: not where tests are only collected
    from medtune.backends.sft_trainer import PackedSFTTrainer
    from medtune.backends.trl import sft_config

    spec = RunSpec.model_validate(
        {"train": {**TRAIN, "fast_path": fast_path}, "quant": {"scheme": scheme, "compute_dtype": "fp16"}}
    )
    rows, done, logs = RandomRows(count=20, max_length=160, prefix=32), [], []
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(random_base(SHAPE, spec.model, spec.quant), spec.lora)
    found, _passed = CheckpointStore(folder / "checkpoints", 2).newest_whole()
    job = Job(
        spec,
        loaded,
        rows,
        folder,
        total_steps(spec, len(rows)),
        resume_from=found.path if found else None,
        on_log=lambda record: logs.append({k: v for k, v in record.items() if k not in TIMED}),
        on_step=done.append,
        stop_reason=lambda: "asked to" if done[-1] == stop_after else None,
    )
    route = prove_route(job)
    with PackedSFTTrainer(job, sft_config(job, recompute=False), route) as trainer:
        scaler = trainer.accelerator.scaler
        if scale is not None and found is None:
            scaler.load_state_dict({**scaler.state_dict(), "scale": scale})
        result = trainer.fit()
        return adapter_digest(loaded), logs, scaler.get_scale(), result


@pytest.mark.parametrize("scheme", ["none", "nf4"])
def test_a_run_in_fp16_takes_the_fast_path_and_learns_as_the_plain_path_does(tmp_path, scheme):
    _digest, fast, _scale, result = train(tmp_path / "fast", scheme=scheme)
    assert "the fast path is on" in result.fast_path
    assert result.proof["gradient_error"] < 5e-2
    _digest, plain, _scale, _result = train(tmp_path / "plain", scheme=scheme, fast_path="off")
    losses = [[record["loss"] for record in logs if "loss" in record] for logs in (fast, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_an_overflow_is_skipped_and_logged_and_the_run_goes_on(tmp_path):
    _digest, logs, scale, _result = train(tmp_path, scale=2.0**34)
    skipped = [record for record in logs if record.get("event") == "skipped update"]
    assert len(skipped) > 2
    assert [record["loss_scale"] for record in skipped] == [2.0 ** (34 - n) for n in range(len(skipped))]
    assert all(record["not_finite"] == "gradient norm" for record in skipped)
    assert scale == 2.0 ** (34 - len(skipped))


@pytest.mark.parametrize("stop_after", [2, 7])
def test_interrupted_and_resumed_in_fp16_equals_uninterrupted_and_keeps_the_scale(tmp_path, stop_after):
    digest, logs, scale, _result = train(tmp_path / "whole", scale=2.0**28)
    _digest, first, _scale, stopped = train(tmp_path / "cut", stop_after, scale=2.0**28)
    assert stopped.interrupted == "asked to"
    resumed, second, resumed_scale, _result = train(tmp_path / "cut")
    assert (resumed, resumed_scale) == (digest, scale)
    told = [str(record) for record in first + second if "step" in record]  # as text, since no nan equals another
    assert told == [str(record) for record in logs if "step" in record]


def test_answers_in_fp16_are_those_of_transformers(tmp_path):
    from medtune.backends.decode_proof import disagreement
    from medtune.backends.fast_generate import fast_generate
    from medtune.plugins.contracts import GenerationRequest

    spec = RunSpec.model_validate({"quant": {"scheme": "none", "compute_dtype": "fp16"}})
    loaded = PeftAdapter().attach(random_base(SHAPE, spec.model, spec.quant), spec.lora)
    prompts = [GenerationRequest([5 + n, *range(6, 30)], 6) for n in range(4)]
    assert disagreement(loaded, prompts, "fast", lambda given, asked: fast_generate(given, asked, spec.eval)) == ""
