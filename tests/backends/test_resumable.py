"""A training that was cut goes on exactly where it was, and what does not fit is refused."""

import json

import pytest
import torch

from medtune.backends.exact_state import read_tree, write_tree
from medtune.backends.peft import PeftAdapter
from medtune.backends.proved import prove_route
from medtune.backends.trl import TrlTrainer, sft_config
from medtune.errors import DiskFullError, UnsafeArtifactError
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base
from medtune.testing.tiny_run import adapter_digest

TIMED = {"tokens_per_second", "memory_gib"}
TRAIN = {"max_length": 24, "num_train_epochs": 2, "gradient_accumulation_steps": 2, "logging_steps": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def job_of(base, tmp_path):
    def make(name="run", resume=None, stop_after=None, lora=None, **train):
        spec = RunSpec.model_validate(
            {"train": {**TRAIN, "optim": "adamw_torch", "save_strategy": "no", **train}, "lora": lora or {}}
        )
        seed_all(spec.seed)
        loaded = PeftAdapter().attach(tiny_base(base), spec.lora)
        rows, steps, logs = RandomRows(), [], []
        job = Job(
            spec=spec,
            loaded=loaded,
            rows=rows,
            run_dir=tmp_path / name,
            total_steps=total_steps(spec, len(rows)),
            resume_from=resume,
            on_log=logs.append,
            on_step=steps.append,
            stop_reason=lambda: "SIGTERM" if steps[-1] == stop_after else None,
        )
        return job, logs

    return make


def newest(job):
    found, passed = CheckpointStore(job.run_dir / "checkpoints", 2).newest_whole()
    assert found is not None
    assert not passed
    return found


def untimed(logs):
    return [
        {key: value for key, value in record.items() if key not in TIMED} for record in logs if "proof" not in record
    ]


def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(job_of):
    whole, whole_logs = job_of("whole")
    result = TrlTrainer().fit(whole)
    first, first_logs = job_of(stop_after=8)  # within the second epoch, and within a logging interval
    assert TrlTrainer().fit(first).interrupted == "SIGTERM"
    checkpoint = newest(first)
    assert checkpoint.step == 8
    second, second_logs = job_of(resume=checkpoint.path)
    resumed = TrlTrainer().fit(second)
    assert adapter_digest(second.loaded) == adapter_digest(whole.loaded)
    assert untimed(first_logs + second_logs) == untimed(whole_logs)
    assert (resumed.steps, resumed.train_loss, resumed.interrupted) == (result.steps, result.train_loss, None)
    assert resumed.tokens < result.tokens


def test_the_mean_loss_that_callbacks_are_told_is_that_of_the_whole_run_too(job_of):
    from medtune.backends.sft_trainer import PackedSFTTrainer

    def told(job):
        with PackedSFTTrainer(job, sft_config(job, recompute=False), prove_route(job)) as trainer:
            result = trainer.fit()
        return result.train_loss, trainer.state.log_history[-1].get("train_loss")

    whole, as_told = told(job_of("whole")[0])
    assert as_told == pytest.approx(whole, rel=1e-12)
    first, _logs = job_of(stop_after=8)
    TrlTrainer().fit(first)
    assert told(job_of(resume=newest(first).path)[0]) == (whole, as_told)


def test_a_checkpoint_holds_safetensors_and_json_only(job_of):
    job, _logs = job_of(stop_after=2)
    TrlTrainer().fit(job)
    suffixes = {path.suffix for path in newest(job).path.iterdir()}
    assert suffixes == {".safetensors", ".json"}


def test_the_last_step_is_not_an_interruption_and_nothing_is_trained_after_it(job_of):
    length = {"num_train_epochs": None, "max_steps": 10}  # within the second epoch
    job, _logs = job_of(stop_after=10, **length)
    result = TrlTrainer().fit(job)
    assert (result.steps, result.interrupted) == (10, None)
    again, logs = job_of(resume=newest(job).path, **length)
    repeated = TrlTrainer().fit(again)
    assert adapter_digest(again.loaded) == adapter_digest(job.loaded)
    assert (repeated.steps, repeated.train_loss, repeated.tokens, logs) == (10, result.train_loss, 0, [])


def test_intervals_may_change_on_resume(job_of):
    job, _logs = job_of(stop_after=4)
    TrlTrainer().fit(job)
    resumed, logs = job_of(resume=newest(job).path, logging_steps=2, save_strategy="steps", save_steps=5)
    TrlTrainer().fit(resumed)
    assert [record["step"] for record in logs] == [6, 8, 10, 12, 14]
    assert newest(resumed).step == 14


def test_a_checkpoint_is_written_when_the_minutes_are_over(job_of):
    job, _logs = job_of(save_every_minutes=1e-9, save_total_limit=20)
    TrlTrainer().fit(job)
    assert len(list((job.run_dir / "checkpoints").glob("step-*"))) == 14


def test_a_stop_at_the_end_of_an_epoch_saves_once(job_of):
    from medtune.backends.sft_trainer import PackedSFTTrainer

    class CountingStore(CheckpointStore):
        def save(self, step, write):
            saved.append(step)
            return super().save(step, write)

    saved = []
    job, _logs = job_of(stop_after=7, save_strategy="epoch")
    with PackedSFTTrainer(job, sft_config(job, recompute=False), prove_route(job)) as trainer:
        trainer.store = CountingStore(trainer.store.root, 2)
        assert trainer.fit().interrupted == "SIGTERM"
    assert saved == [7]


def test_a_checkpoint_of_another_adapter_is_refused(job_of):
    job, _logs = job_of(stop_after=1)
    TrlTrainer().fit(job)
    other, _logs = job_of(resume=newest(job).path, lora={"r": 4})
    with pytest.raises(UnsafeArtifactError, match=r"another adapter.*float32\[8, 128\] in it"):
        TrlTrainer().fit(other)


def test_a_disk_that_is_too_small_is_told_before_the_first_step(job_of):
    from medtune.backends.sft_trainer import PackedSFTTrainer

    job, logs = job_of()
    with PackedSFTTrainer(job, sft_config(job, recompute=False), prove_route(job)) as trainer:
        trainer._trainable = 2**57
        with pytest.raises(DiskFullError):
            trainer.fit()
    assert logs == []


def test_a_training_tree_comes_back_as_it_was(tmp_path):
    shared = torch.arange(6.0)
    tree = {
        0: {"state": shared, "again": shared, "step": 3, "betas": (0.9, 0.999)},
        "groups": [{"lr": 2e-4, "decay": None, "fused": False}],
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "scalar": torch.tensor(1.5),
        "strided": torch.arange(6).reshape(2, 3).T,
    }
    write_tree(tmp_path, "state", tree)
    back = read_tree(tmp_path, "state")
    assert json.dumps(back, default=str) == json.dumps(tree, default=str)
    assert back[0]["betas"] == (0.9, 0.999)
    assert back["bytes"].dtype == torch.uint8
    assert back[0]["state"] is back[0]["again"]


def test_what_needs_a_pickle_is_refused_by_type(tmp_path):
    with pytest.raises(TypeError, match="a set in the training state"):
        write_tree(tmp_path, "state", {"a": {1}})
