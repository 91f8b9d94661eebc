"""Training by the fast path keeps the trainer's promises: it stops on NaN, halves when memory is short, and spans ranks."""

import shutil
import sys

import pytest
import torch

from medtune.accel.train import FastPath
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.errors import NonFiniteLossError
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.testing.faults import FaultLab
from medtune.testing.tiny import RandomRows, tiny_base

TRAIN = {"max_length": 24, "num_train_epochs": 1, "gradient_accumulation_steps": 2, "logging_steps": 1}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def fit(base, tmp_path):
    """Return a function that trains a tiny model and returns what was done, its adapter's values and its log."""

    def train(rows=None, **changes):
        spec = RunSpec.model_validate(
            {"train": {**TRAIN, "optim": "adamw_torch", "save_strategy": "no", **changes}, "lora": {"dropout": 0}}
        )
        seed_all(spec.seed)
        loaded, rows, logs = PeftAdapter().attach(tiny_base(base), spec.lora), rows or RandomRows(), []
        job = Job(spec, loaded, rows, tmp_path / "run", total_steps(spec, len(rows)), on_log=logs.append)
        result = TrlTrainer().fit(job)
        values = [p.detach().flatten() for p in loaded.model.parameters() if p.requires_grad]
        return result, torch.cat(values), [record for record in logs if "loss" in record]

    return train


def change_loss(monkeypatch, change):
    """Change the losses of training, not those of the proof before it, which runs in evaluation mode."""
    kept = FastPath.loss_of

    def loss_of(self, batch):
        loss = kept(self, batch)
        return change(loss, batch) if self._stack.network.is_training() else loss

    monkeypatch.setattr(FastPath, "loss_of", loss_of)


def test_the_fast_path_trains_to_the_same_values_as_plain_peft(fit):
    fast, plain = fit(), fit(fast_path="off")
    assert fast[0].fast_path == "the fast path is on (reference form, common prefixes once)"
    assert plain[0].fast_path == "the fast path is off: train.fast_path is off"
    torch.testing.assert_close(fast[1], plain[1], rtol=0, atol=1e-5)
    assert [r["loss"] for r in fast[2]] == pytest.approx([r["loss"] for r in plain[2]], rel=1e-5)


def test_sharing_beginnings_trains_to_the_same_values_and_tells_the_same_losses_of_sources(fit, monkeypatch):
    train, computed = {"max_length": 96, "per_device_batch_size": 2}, []
    change_loss(monkeypatch, lambda loss, batch: computed.append(len(batch.ids)) or loss)
    whole = fit(RandomRows(prefix=20), share_prefixes=False, **train)
    tokens = sum(computed)
    computed.clear()
    shared = fit(RandomRows(prefix=20), **train)
    assert shared[0].fast_path == "the fast path is on (reference form, common prefixes once)"
    assert sum(computed) < 0.6 * tokens
    torch.testing.assert_close(shared[1], whole[1], rtol=0, atol=1e-5)
    for own, other in zip(shared[2], whole[2], strict=True):
        assert own["loss_by_source"] == pytest.approx(other["loss_by_source"], rel=1e-5)
        assert own["tokens"] == other["tokens"]


@pytest.mark.parametrize("fast_path", ["auto", "off"])
def test_an_update_is_the_same_in_whatever_portions_its_rows_are_taken(fit, fast_path):
    portions = [(1, 4), (2, 2), (4, 1)]
    runs = [
        fit(per_device_batch_size=rows, gradient_accumulation_steps=times, fast_path=fast_path, learning_rate=1e-2)
        for rows, times in portions
    ]
    losses = [[record["loss"] for record in logs] for _result, _values, logs in runs]
    assert len(losses[0]) > 1
    assert losses[0][0] != pytest.approx(losses[0][-1], rel=1e-3)  # the updates do something
    for result, values, logs in runs[1:]:
        assert result.steps == runs[0][0].steps
        assert [record["loss"] for record in logs] == pytest.approx(losses[0], rel=1e-6)
        assert [record["tokens"] for record in logs] == [record["tokens"] for record in runs[0][2]]
        torch.testing.assert_close(values, runs[0][1], rtol=0, atol=1e-4)


def test_a_nan_loss_of_the_fast_path_stops_the_run_and_names_its_rows(fit, monkeypatch):
    seen = []

    def spoil(loss, _batch):
        seen.append(loss)
        return loss * float("nan") if len(seen) == 6 else loss  # second micro-batch of the third update

    change_loss(monkeypatch, spoil)
    with pytest.raises(NonFiniteLossError) as caught:
        fit()
    assert (caught.value.step, caught.value.quantity) == (3, "loss")
    assert len(caught.value.row_ids) == 3


def test_halved_micro_batches_of_the_fast_path_give_the_same_update(fit, monkeypatch):
    _result, wanted, records = fit(per_device_batch_size=4)

    def starve(loss, batch):
        if len(batch.ids) > 40:  # two rows of up to 24 tokens may not
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss

    change_loss(monkeypatch, starve)
    result, found, halved = fit(per_device_batch_size=4, on_oom="halve")
    assert "is on" in result.fast_path
    assert [r["loss"] for r in halved] == pytest.approx([r["loss"] for r in records], rel=1e-5)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="the laboratory that starts ranks needs Linux and a C compiler",
)
def test_two_ranks_on_the_fast_path_train_as_one(base, tmp_path):
    logs = []
    with FaultLab("medtune.testing.tiny_run:tiny_run") as lab:
        for ranks in (1, 2):
            folder = tmp_path / str(ranks)
            folder.mkdir()
            train = {"num_train_epochs": 1, "gradient_accumulation_steps": 2, "logging_steps": 1}
            options = {"base": str(base), "train": train, "lora": {"dropout": 0}, "rows": {"count": 12}}
            run = lab.run(folder, options=options, ranks=ranks)
            assert set(run.status) == {0}
            logs.append(run.result["log"])
    assert not any("fast_path" in record for record in logs[0] + logs[1])  # it is logged where it is off
    one, two = ([(r["loss"], r["grad_norm"]) for r in log if "loss" in r] for log in logs)
    assert len(one) == 6
    for (loss, norm), (other_loss, other_norm) in zip(one, two, strict=True):
        assert other_norm == pytest.approx(norm, rel=1e-4)
        assert other_loss == pytest.approx(loss, rel=1e-4)
