"""Scores during training change nothing, choose the adapter, end the run, and survive an interruption."""

import random
from itertools import groupby

import pytest
import torch
from graphs_on_a_cpu import graphs_on_a_cpu

from medtune.backends.generate import TransformersGenerator
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import GenerationRequest, Job
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base
from medtune.testing.tiny_run import adapter_digest

TIMED = {"tokens_per_second", "memory_gib"}
TRAIN = {"max_length": 24, "gradient_accumulation_steps": 2, "logging_steps": 1, "optim": "adamw_torch", "max_steps": 8}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def job_of(base, tmp_path):
    def make(name, scores=(), resume=None, stop_after=None, train=(), **wanted):
        train = {**TRAIN, "save_strategy": "no", "save_total_limit": 1, **dict(train)}
        spec = RunSpec.model_validate({"train": train, "eval": {"every": 2, **wanted}})
        seed_all(spec.seed)
        loaded = PeftAdapter().attach(tiny_base(base), spec.lora)
        rows, steps, logs, digests = RandomRows(), [], [], {}

        def score(step):
            random.random(), torch.rand(3)  # what a generator might draw
            answers = TransformersGenerator().generate(loaded, [GenerationRequest([5, 9, 7], 3)], spec.eval)
            assert len(answers) == 1
            assert not loaded.model.training
            digests[step] = adapter_digest(loaded)
            logs.append({"step": step, "macro": scores[step]})
            return scores[step]

        return Job(
            spec,
            loaded,
            rows,
            tmp_path / name,
            total_steps(spec, len(rows)),
            resume_from=resume,
            on_log=logs.append,
            on_step=steps.append,
            on_evaluate=score if scores else None,
            stop_reason=lambda: "SIGTERM" if steps[-1] == stop_after else None,
        ), (logs, digests)

    return make


def untimed(logs):
    return [{key: value for key, value in record.items() if key not in TIMED} for record in logs]


@pytest.mark.parametrize("route", ["auto", "off"])
def test_losses_are_the_same_bit_for_bit_with_scores_and_without(job_of, route):
    plain, (plain_logs, _) = job_of("plain", train={"fast_path": route})
    scored, (logs, digests) = job_of("scored", {2: 0.1, 4: 0.2, 6: 0.3}, train={"fast_path": route})
    TrlTrainer().fit(plain)
    result = TrlTrainer().fit(scored)
    assert sorted(digests) == [2, 4, 6]  # the full scoring follows the last update
    assert untimed(r for r in logs if "macro" not in r) == untimed(plain_logs)
    assert adapter_digest(scored.loaded) == adapter_digest(plain.loaded)
    assert (result.best_step, result.adapter_step) == (6, 8)


def test_the_fast_path_gives_its_memory_back_before_each_score_only(job_of, monkeypatch):
    from medtune.accel.train import FastPath

    job, (logs, _) = job_of("run", {2: 0.1, 4: 0.2, 6: 0.3})
    monkeypatch.setattr(FastPath, "disable", lambda _path: logs.append({"forgotten": True}))
    TrlTrainer().fit(job)
    events = [
        "forgotten" if "forgotten" in record else "score" for record in logs if {"forgotten", "macro"} & set(record)
    ]
    assert events == ["forgotten", "score"] * 3 + ["forgotten"]  # the last when training is over


def test_passes_that_are_recorded_anew_after_a_score_train_the_same(job_of, monkeypatch):
    events = graphs_on_a_cpu(monkeypatch)
    plain, (plain_logs, _) = job_of("plain")
    TrlTrainer().fit(plain)
    changes = [event for event in events if event != "launched"]
    assert [kind for kind, _ in groupby(changes)] == ["captured", "dropped"]
    events.clear()
    scored, (logs, digests) = job_of("scored", {2: 0.1, 4: 0.2, 6: 0.3})
    TrlTrainer().fit(scored)
    assert sorted(digests) == [2, 4, 6]
    assert untimed(r for r in logs if "macro" not in r) == untimed(plain_logs)
    assert adapter_digest(scored.loaded) == adapter_digest(plain.loaded)
    changes = [event for event in events if event != "launched"]
    assert [kind for kind, _ in groupby(changes)] == ["captured", "dropped"] * 4


def test_scores_come_at_the_end_of_each_epoch(job_of):
    job, (_, digests) = job_of("run", dict.fromkeys(range(99), 0.5), every="epoch", train={"max_steps": 15})
    TrlTrainer().fit(job)
    assert sorted(digests) == [7, 14]  # thirteen rows, two an update


def test_an_undefined_score_is_neither_the_best_one_nor_a_worse_one(job_of):
    """One that counts as 0 would be the best of the first two, and a second worse one after 0.5."""
    scores = {2: None, 4: 0.5, 6: None, 8: 0.4}
    job, _ = job_of("run", scores, keep_best="macro", patience=2)
    result = TrlTrainer().fit(job)
    assert (result.best_step, result.adapter_step, result.stopped_early) == (4, 4, "")
    none, _ = job_of("none", dict.fromkeys(scores), keep_best="macro", patience=1)
    result = TrlTrainer().fit(none)
    assert (result.best_step, result.adapter_step, result.stopped_early) == (None, 8, "")


def test_the_best_checkpoint_survives_rotation_and_becomes_the_adapter(job_of):
    scores = {2: 0.1, 4: 0.9, 6: 0.2, 8: 0.9}
    job, (_, digests) = job_of(
        "run", scores, keep_best="macro", train={"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    )
    result = TrlTrainer().fit(job)
    assert (result.steps, result.best_step, result.adapter_step) == (8, 4, 4)
    assert adapter_digest(job.loaded) == digests[4] != digests[8]
    left = sorted(path.name for path in (job.run_dir / "checkpoints").iterdir())
    assert left == ["step-000004", "step-000008"]


def test_patience_ends_the_run_as_if_it_were_done(job_of):
    job, (_, digests) = job_of("run", {2: 0.5, 4: 0.5, 6: 0.4}, patience=2)
    result = TrlTrainer().fit(job)
    assert (result.steps, result.interrupted, result.adapter_step) == (6, None, 6)
    assert result.stopped_early == "no better score than that of step 2 in 2 scorings"
    again, (logs, _) = job_of("run", {2: 0.0}, resume=newest(job).path, patience=2)  # killed before it said so
    repeated = TrlTrainer().fit(again)
    assert (repeated.steps, repeated.stopped_early, logs) == (6, result.stopped_early, [])
    assert adapter_digest(again.loaded) == digests[6]


@pytest.mark.parametrize("stop_after", [4, *(pytest.param(each, marks=pytest.mark.proof) for each in (3, 5))])
def test_interrupted_and_resumed_equals_uninterrupted(job_of, stop_after):
    scores, wanted = {2: 0.8, 4: 0.3, 6: 0.2, 8: 0.1}, {"keep_best": "macro", "patience": 3}
    whole, (whole_logs, _) = job_of("whole", scores, **wanted)
    result = TrlTrainer().fit(whole)
    first, (first_logs, _) = job_of("cut", scores, stop_after=stop_after, **wanted)
    assert TrlTrainer().fit(first).interrupted == "SIGTERM"
    assert newest(first).step == stop_after
    second, (second_logs, _) = job_of("cut", scores, resume=newest(first).path, **wanted)
    resumed = TrlTrainer().fit(second)
    assert untimed(first_logs + second_logs) == untimed(whole_logs)
    assert adapter_digest(second.loaded) == adapter_digest(whole.loaded)
    assert (resumed.best_step, resumed.adapter_step, resumed.train_loss, resumed.stopped_early) == (
        *(2, 2),
        result.train_loss,
        result.stopped_early,
    )


def newest(job):
    found, passed = CheckpointStore(job.run_dir / "checkpoints", 2).newest_whole()
    assert found is not None
    assert not passed
    return found
