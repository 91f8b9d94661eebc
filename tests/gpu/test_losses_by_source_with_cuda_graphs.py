"""Losses by source on a GPU: passes in CUDA graphs tell those of plain peft."""

import math

import pytest

from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

TRAIN = {
    "max_length": 24,
    "per_device_batch_size": 4,
    "gradient_accumulation_steps": 3,  # micro-batches of one update launch the same graph
    "logging_steps": 2,
    "num_train_epochs": 3,
    "optim": "adamw_torch",
    "save_strategy": "no",
}


def logs_of(base, folder, route):
    spec = RunSpec.model_validate({"train": {**TRAIN, "fast_path": route}})
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(tiny_base(base, "none", "cuda:0"), spec.lora)
    rows, logs = RandomRows(count=26), []
    TrlTrainer().fit(Job(spec, loaded, rows, folder, total_steps(spec, len(rows)), on_log=logs.append))
    assert [record for record in logs if "fast_path" in record] == []
    return [record for record in logs if "loss" in record]


def test_passes_in_cuda_graphs_tell_the_losses_of_sources_that_plain_peft_does(tmp_path, graphed, figures):
    plain = logs_of(tmp_path / "base", tmp_path / "plain", "off")
    fast = logs_of(tmp_path / "base", tmp_path / "fast", "auto")
    assert sum(graphed) > len(fast)
    assert len(fast) == len(plain) > 2
    for own, other in zip(fast, plain, strict=True):
        assert own["loss_by_source"] == pytest.approx(other["loss_by_source"], rel=1e-2)
        assert own["supervised_by_source"] == other["supervised_by_source"]
    first = fast[0]
    mean = math.fsum(first["loss_by_source"][name] * n for name, n in first["supervised_by_source"].items())
    assert mean / first["supervised_tokens"] == pytest.approx(first["loss"], rel=1e-4)
    figures(records=len(fast), replays=sum(graphed))
