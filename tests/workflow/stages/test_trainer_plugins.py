"""A trainer of a plugin gets raw examples where it wants them, saves and resumes, and is said to have saved only when it did."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtune import MedTuner, hookimpl
from medtune.backends.generate import TransformersGenerator
from medtune.errors import PluginError, RunInterruptedError, UnsafeArtifactError
from medtune.plugins.contracts import Job, TrainResult
from medtune.plugins.host import create_host
from medtune.workflow.run import Run

ROWS = [{"instruction": "Say it.", "input": f"word {n}", "output": f"word {n}"} for n in range(12)]


class PlainTrainer:
    """Plain descent, a packed row per step; saves the adapter and the losses so far where it is told to."""

    name = "plain"
    saves, stops_at = True, None

    def fit(self, job):
        self.job, losses, begun = job, [], 0
        model = job.loaded.model
        named = {name: value for name, value in model.named_parameters() if value.requires_grad}
        learned = list(named.values())
        if job.resume_from is not None:
            for name, value in load_file(job.resume_from / "learned.safetensors").items():
                named[name].data.copy_(value)
            losses = json.loads((job.resume_from / "losses.json").read_text())
            begun = len(losses)
        for step in range(begun + 1, job.total_steps + 1):
            row = job.rows[step % len(job.rows)]
            ids = torch.tensor([[int(i) for i in row.input_ids]])
            labels = torch.where(torch.tensor([[int(i) for i in row.supervised]]) == 1, ids, -100)
            loss = model(input_ids=ids, labels=labels).loss
            for value, gradient in zip(learned, torch.autograd.grad(loss, learned), strict=True):
                value.data -= 0.05 * gradient
            losses.append(loss.item())
            job.on_log({"step": step, "loss": losses[-1]})
            job.on_step(step)
            if step == self.stops_at:
                if self.saves:
                    job.checkpoints.save(step, lambda folder: self.write(folder, job, losses))
                return self.result(losses, "enough")
        return self.result(losses, None)

    @staticmethod
    def write(folder, job, losses):
        named = {name: value for name, value in job.loaded.model.named_parameters() if value.requires_grad}
        save_file({name: value.detach().contiguous() for name, value in named.items()}, folder / "learned.safetensors")
        (folder / "losses.json").write_text(json.dumps(losses))

    @staticmethod
    def result(losses, interrupted):
        return TrainResult(len(losses), sum(losses) / len(losses), 1, 1.0, 0.0, interrupted=interrupted)


class Answers(TransformersGenerator):
    """Notes which model it was told to ask, and how that one answers by its logits."""

    name = "noting"

    def __init__(self):
        self.asked = []

    def generate(self, loaded, prompts, spec):
        with torch.no_grad():
            logits = loaded.model(input_ids=torch.tensor([list(prompts[0].input_ids)])).logits
        self.asked.append((loaded.answers_as, logits.double().sum().item()))
        return super().generate(loaded, prompts, spec)


class Plugin:
    __hash__ = object.__hash__

    def __init__(self):
        self.trainer, self.generator = PlainTrainer(), Answers()

    @hookimpl
    def provide_trainers(self):
        return [self.trainer]

    @hookimpl
    def provide_generators(self):
        return [self.generator]


@pytest.fixture
def plugin():
    return Plugin()


@pytest.fixture
def training(plugin, base, tmp_path):
    """Train by the plugin's trainer in a folder."""

    def train(name, **scored):
        return MedTuner.from_bundle(
            "demo", model=str(base), plugins=create_host([plugin], autoload=False), data=ROWS, quant={"scheme": "none"},
            lora={"dropout": 0.0}, train={"backend": "plain", "max_steps": 3}, eval={"enabled": False, **scored},
            tasks=[{"source": "", "kind": "free-text"}], output_dir=str(tmp_path / name),
        ).train(quiet=True)  # fmt: skip

    return train


def tensors(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_run_of_a_plugin_s_trainer_resumes_bit_for_bit(training, plugin, tmp_path):
    whole = training("whole")
    plugin.trainer.stops_at = 2
    with pytest.raises(
        RunInterruptedError, match=r"interrupted at step 2 \(enough\) and saved; run it again to resume"
    ) as caught:
        training("parted")
    assert caught.value.saved == 2
    assert [path.name for path in (tmp_path / "parted" / "checkpoints").iterdir()] == ["step-000002"]
    plugin.trainer.stops_at = None
    parted = training("parted")
    assert plugin.trainer.job.resume_from.name == "step-000002"
    assert parted.metrics["train_loss"] == whole.metrics["train_loss"]
    one, two = tensors(whole.path), tensors(parted.path)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(value.abs().max() > 0 for name, value in one.items() if "lora_B" in name)


def test_a_trainer_that_saves_nothing_is_not_said_to_have_saved(training, plugin):
    plugin.trainer.saves, plugin.trainer.stops_at = False, 2
    with pytest.raises(
        RunInterruptedError, match="has no checkpoint; run it again to train from the beginning"
    ) as caught:
        training("run")
    assert "saved" not in str(caught.value)
    assert caught.value.saved is None
    plugin.trainer.stops_at = None
    assert training("run").metrics["steps"] == 3


def test_an_older_checkpoint_is_named_by_its_step(training, plugin):
    plugin.trainer.stops_at = 1
    with pytest.raises(RunInterruptedError):
        training("run")
    plugin.trainer.saves, plugin.trainer.stops_at = False, 2
    with pytest.raises(
        RunInterruptedError, match="its newest checkpoint is that of step 1: run it again to resume from there"
    ):
        training("run")


def test_a_checkpoint_holds_no_pickles(training, plugin, tmp_path):
    plugin.trainer.stops_at = 1
    plugin.trainer.write = lambda folder, job, losses: (folder / "state.pt").write_bytes(b"x")
    with pytest.raises(UnsafeArtifactError, match=r"'state\.pt' may be a pickle"):
        training("run")
    assert list((tmp_path / "run" / "checkpoints").glob("step-*")) == []


def test_a_job_without_a_place_refuses_a_checkpoint(tmp_path):
    job = Job(spec=None, loaded=None, rows=[], run_dir=tmp_path, total_steps=1)
    with pytest.raises(PluginError, match="the checkpoint of step 4 has no place"):
        job.checkpoints.save(4, lambda folder: None)


def test_a_trainer_gets_raw_examples_where_it_wants_them(training, plugin):
    training("without")
    assert plugin.trainer.job.examples is None
    plugin.trainer.wants_examples = True
    training("with")
    job = plugin.trainer.job
    by_id = {example.row_id: example for example in job.examples}
    packed = [sample for row in map(job.rows.__getitem__, range(len(job.rows))) for sample in row.samples]
    assert by_id.keys() == {job.rows.row_id(sample) for sample in packed}
    assert len(by_id) == len(job.examples) == len(packed)
    answers = {example.messages[-1]["content"] for example in job.examples}
    assert answers <= {row["output"] for row in ROWS}


def test_a_generator_is_told_whether_the_base_or_the_tuned_model_answers(training, plugin):
    run = training("run", enabled=True, backend="noting", rows_per_source=2, max_new_tokens=2)
    before = [figure for side, figure in plugin.generator.asked if side == "base"]
    after = [figure for side, figure in plugin.generator.asked if side == "tuned"]
    assert [side for side, _figure in plugin.generator.asked] == ["base"] * len(before) + ["tuned"] * len(after)
    assert before
    assert after
    opened = Run.open(run.path, plugins=create_host([plugin], autoload=False))
    plugin.generator.asked.clear()
    opened.evaluate(baseline=True)
    again = dict(reversed(plugin.generator.asked))
    assert again.keys() == {"base", "tuned"}
    assert (again["base"], again["tuned"]) == (before[0], after[0])
    assert again["base"] != again["tuned"]
    assert opened.loaded.answers_as == "tuned"
