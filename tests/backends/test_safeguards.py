"""Nothing is updated with NaN, and a micro-batch that does not fit halves without changing the update."""

import pytest
import torch

from medtune.backends.peft import PeftAdapter
from medtune.backends.safeguards import FiniteGuard, MicroBatchSplitter
from medtune.backends.trl import TrlTrainer
from medtune.errors import NonFiniteLossError, OutOfMemoryError
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

TRAIN = {"max_length": 24, "num_train_epochs": 1, "gradient_accumulation_steps": 2, "logging_steps": 1}
STEPS = 7  # 13 rows, 2 per update


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture(params=["adamw_torch", "adamw_torch_fused"])
def job_of(base, tmp_path, request):
    """Make jobs; of the second optimizer the device leaves updates out by itself, and the host hears of it later."""

    def make(**train):
        spec = RunSpec.model_validate(
            {
                "train": {**TRAIN, "optim": request.param, "save_strategy": "no", "fast_path": "off", **train},
                "lora": {"dropout": 0},
            }
        )
        seed_all(spec.seed)
        loaded = PeftAdapter().attach(tiny_base(base), spec.lora)
        rows, logs = RandomRows(), []
        job = Job(spec, loaded, rows, tmp_path / "run", total_steps(spec, len(rows)), on_log=logs.append)
        return job, logs

    return make


def spoil_loss(job, calls):
    """Make the head return NaN in the numbered forward passes."""
    seen = []
    head = job.loaded.model.get_output_embeddings()

    def hook(module, _inputs, output):
        if not module.training:  # the proof before training
            return None
        seen.append(len(seen))
        return output * float("nan") if seen[-1] in calls else None

    head.register_forward_hook(hook)


def values(job):
    return torch.cat([p.detach().flatten().clone() for p in job.loaded.model.parameters() if p.requires_grad])


def test_a_nan_loss_stops_before_the_update_and_names_the_rows_of_its_micro_batch(job_of):
    job, logs = job_of(save_strategy="steps", save_steps=2)
    spoil_loss(job, {5})  # the second micro-batch of the third update
    with pytest.raises(NonFiniteLossError) as caught:
        TrlTrainer().fit(job)
    assert (caught.value.step, caught.value.quantity, caught.value.exit_code) == (3, "loss", 7)
    assert len(caught.value.row_ids) == 3  # one packed row holds three samples
    assert logs[-1]["row_ids"] == list(caught.value.row_ids)
    assert [record["step"] for record in logs if "loss" in record] == [1, 2]
    newest, _passed = CheckpointStore(job.run_dir / "checkpoints", 2).newest_whole()
    assert newest is not None
    assert newest.step == 2
    after = values(job)
    assert torch.isfinite(after).all()
    clean, _logs = job_of(max_steps=2, num_train_epochs=None, lr_scheduler_type="constant")
    spoiled, _logs = job_of(lr_scheduler_type="constant")
    spoil_loss(spoiled, {5})
    TrlTrainer().fit(clean)
    with pytest.raises(NonFiniteLossError):
        TrlTrainer().fit(spoiled)
    assert torch.equal(values(clean), values(spoiled))


def test_a_nan_gradient_with_a_finite_loss_stops_too(job_of):
    job, _logs = job_of()
    parameter = next(p for p in job.loaded.model.parameters() if p.requires_grad)
    model = job.loaded.model
    parameter.register_hook(lambda gradient: gradient * float("inf") if model.training else gradient)
    with pytest.raises(NonFiniteLossError, match="gradient norm is not finite at step 1") as caught:
        TrlTrainer().fit(job)
    assert len(caught.value.row_ids) == 6  # both micro-batches


@pytest.mark.parametrize("norm", [float("inf"), float("nan")])
def test_gradients_beyond_fp16_are_told_while_a_smaller_scale_is_left_and_then_stop(job_of, norm):
    job, logs = job_of()
    guard = FiniteGuard(job, 1)
    guard.begin_update([[0]], torch.zeros(()))
    guard.note_loss(torch.ones(()))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert guard.accepts(4, torch.tensor(norm), scaler)
    told = {"step": 4, "event": "skipped update", "not_finite": "gradient norm", "row_ids": [], "loss_scale": 1024.0}
    assert logs == [told]
    assert guard.accepts(5, torch.tensor(2.0), scaler)
    assert (logs, guard.skipped) == ([told], 0)
    with pytest.raises(NonFiniteLossError, match="gradient norm"):
        guard.accepts(6, torch.tensor(norm), torch.amp.GradScaler("cpu", init_scale=0.5))


def test_skipping_leaves_the_update_out_and_keeps_the_figures_honest(job_of):
    clean, clean_logs = job_of(lr_scheduler_type="constant")
    TrlTrainer().fit(clean)
    job, logs = job_of(on_nonfinite="skip", lr_scheduler_type="constant")
    spoil_loss(job, {12})  # the last update
    result = TrlTrainer().fit(job)
    assert result.steps == STEPS
    losses = {record["step"]: record["loss"] for record in logs if "loss" in record}
    expected = {record["step"]: record["loss"] for record in clean_logs}
    assert [record["event"] for record in logs if "event" in record] == ["skipped update"]
    assert {step: losses[step] for step in range(1, STEPS)} == {step: expected[step] for step in range(1, STEPS)}
    assert result.train_loss == pytest.approx(sum(expected[step] for step in range(1, STEPS)) / (STEPS - 1))


def test_the_mean_of_an_interval_is_over_the_updates_that_were_applied(job_of):
    clean, clean_logs = job_of()
    TrlTrainer().fit(clean)
    job, logs = job_of(on_nonfinite="skip", logging_steps=2)
    spoil_loss(job, {10})  # in the sixth update
    TrlTrainer().fit(job)
    fifth = next(record["loss"] for record in clean_logs if record["step"] == 5)
    assert next(r["loss"] for r in logs if r["step"] == 6 and "loss" in r) == pytest.approx(fifth, rel=1e-6)


def test_without_records_in_between_updates_are_left_out_as_well(job_of):
    job, logs = job_of(on_nonfinite="skip", logging_steps=100)
    spoil_loss(job, {4, 9})
    result = TrlTrainer().fit(job)
    assert [record["step"] for record in logs if "event" in record] == [3, 5]
    clean, clean_logs = job_of(on_nonfinite="skip")
    spoil_loss(clean, {4, 9})
    told = TrlTrainer().fit(clean)
    assert torch.equal(values(job), values(clean))
    assert result.train_loss == pytest.approx(told.train_loss, rel=1e-6)
    assert sum(r["step"] in {3, 5} for r in clean_logs if "event" in r) == 2

    job, logs = job_of(logging_steps=100)
    spoil_loss(job, {4})
    with pytest.raises(NonFiniteLossError, match="loss is not finite at step 3"):
        TrlTrainer().fit(job)
    assert logs[-1]["row_ids"]


def test_a_skipped_update_changes_no_value(job_of):
    job, _logs = job_of(on_nonfinite="skip", max_skipped_steps=STEPS)
    before = values(job)
    spoil_loss(job, set(range(13)))
    TrlTrainer().fit(job)
    assert torch.equal(values(job), before)


def test_skipping_has_a_limit(job_of):
    job, logs = job_of(on_nonfinite="skip", max_skipped_steps=2)
    spoil_loss(job, set(range(13)))
    with pytest.raises(NonFiniteLossError, match="at step 3"):
        TrlTrainer().fit(job)
    assert [record["event"] for record in logs if "event" in record] == ["skipped update", "skipped update", "stopped"]


def starve(job, most_rows, where):
    """Run out of memory whenever a pass, forward or backward, has more rows than that."""
    layer = job.loaded.model.get_base_model().model.layers[0].mlp  # backward, the other layer has its gradients by then

    def check(*arguments):
        tensor = next(
            a for group in arguments for a in (group if isinstance(group, tuple) else (group,)) if torch.is_tensor(a)
        )
        if len(tensor) > most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    if where == "forward":
        layer.register_forward_hook(check)
    else:
        layer.register_full_backward_pre_hook(check)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_halving_keeps_the_effective_batch_and_the_loss(job_of, where):
    clean, clean_logs = job_of(per_device_batch_size=4)
    TrlTrainer().fit(clean)
    job, logs = job_of(per_device_batch_size=4, on_oom="halve")
    starve(job, 1, where)
    TrlTrainer().fit(job)
    assert [record["micro_batch_parts"] for record in logs if "event" in record] == [2, 4]
    losses = [record["loss"] for record in logs if "loss" in record]
    assert losses == pytest.approx([record["loss"] for record in clean_logs], rel=1e-5)
    assert torch.allclose(values(job), values(clean), atol=1e-6)


@pytest.mark.parametrize("held", [None, 3.0])
def test_what_a_failing_attempt_added_to_the_gradients_is_taken_back(job_of, held):
    """Directly: an optimizer that divides by the size of gradients would hide most of what is left over."""
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.grad = None if held is None else torch.full((1, 2), held)
    rows = torch.arange(8.0).reshape(4, 2)

    def pass_over(part):
        loss = model(part["input_ids"]).sum()
        loss.backward()
        if len(part["input_ids"]) > 1:
            raise torch.OutOfMemoryError("full after the backward pass")
        return loss.detach()

    job, logs = job_of(on_oom="halve")
    loss = MicroBatchSplitter(job).run(pass_over, {"input_ids": rows}, model, 1)
    assert [record["micro_batch_parts"] for record in logs] == [2, 4]
    assert torch.equal(model.weight.grad, rows.sum(0, keepdim=True) + (held or 0.0))
    torch.testing.assert_close(loss, model(rows).sum())


def test_running_out_of_memory_stops_with_advice(job_of):
    job, _logs = job_of(per_device_batch_size=4)
    starve(job, 1, "forward")
    with pytest.raises(
        OutOfMemoryError, match=r"micro_batch=as_written, lower train.per_device_batch_size, set train.on_oom=halve"
    ) as caught:
        TrlTrainer().fit(job)
    assert caught.value.exit_code == 8


def test_one_row_that_does_not_fit_cannot_be_halved(job_of):
    job, _logs = job_of(per_device_batch_size=2, on_oom="halve")
    starve(job, 0, "forward")
    with pytest.raises(OutOfMemoryError, match=r"lower train\.per_device_batch_size"):
        TrlTrainer().fit(job)
