"""Interrupted and resumed equals uninterrupted where passes run in CUDA graphs, without deterministic algorithms."""

import pytest

from medtune.backends.peft import PeftAdapter
from medtune.backends.random_base import random_base
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.runs.store import CheckpointStore
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows
from medtune.testing.tiny_run import TIMED, adapter_digest

SHAPE = {
    "model_type": "mistral",
    "hidden_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "vocab_size": 300,
}
TRAIN = {
    "max_length": 256,
    "per_device_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 3,
    "logging_steps": 2,
    "save_strategy": "no",
}


def train(folder, scheme, restored, stop_after=None):
    """Train to the end, or up to an update, from the newest checkpoint in ``folder``."""
    spec = RunSpec.model_validate({"train": {**TRAIN, "dequantized_weights": restored}, "quant": {"scheme": scheme}})
    rows, steps, logs = RandomRows(count=20, max_length=160, prefix=32), [], []
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
        on_step=steps.append,
        stop_reason=lambda: "asked to" if steps[-1] == stop_after else None,
    )
    result = TrlTrainer().fit(job)
    assert result.fast_path == "the fast path is on (triton form, common prefixes once)"
    return adapter_digest(loaded), logs, result


STORAGES = [("none", "each_pass"), ("nf4", "each_pass"), ("nf4", "keep"), ("fp8", "each_pass")]


@pytest.mark.parametrize(
    ("scheme", "restored", "stops"),
    [
        *((*storage, (3, 8) if storage == ("nf4", "each_pass") else (8,)) for storage in STORAGES),
        *(pytest.param(*storage, (3,), marks=pytest.mark.proof) for storage in STORAGES),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, graphed, scheme, restored, stops):
    digest, logs, _result = train(tmp_path / "whole", scheme, restored)
    assert sum(graphed) > len(graphed) / 2
    for stop_after in stops:
        folder = tmp_path / f"cut-{stop_after}"
        _digest, first_logs, first = train(folder, scheme, restored, stop_after)
        assert first.interrupted == "asked to"
        resumed_digest, second_logs, _result = train(folder, scheme, restored)
        assert first_logs + second_logs == logs
        assert resumed_digest == digest
