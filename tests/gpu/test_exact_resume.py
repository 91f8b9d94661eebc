"""Interrupted and resumed equals uninterrupted on CUDA too, with deterministic kernels, paged states and the fp16 scaler."""

import itertools

import pytest

from medtune.specs import RunSpec

TIMED = {"tokens_per_second", "memory_gib"}
COMBINATIONS = [
    *itertools.product(
        ("none", "nf4"), ("adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"), ("bf16",), (True, False)
    ),
    ("nf4", "paged_adamw_32bit", "fp16", True),
]
TELLING = {
    ("none", "adamw_torch", "bf16", True),
    ("none", "paged_adamw_8bit", "bf16", False),
    ("nf4", "adamw_torch", "bf16", False),
    ("nf4", "paged_adamw_32bit", "bf16", True),
    ("nf4", "paged_adamw_32bit", "fp16", True),
}
"""Each storage, optimizer, precision and layout at least once; the other combinations of them are left to the proofs."""


def comparable(record):
    """Return a record of training without what differs between two equal runs."""
    return {key: value for key, value in record.items() if key not in TIMED}


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    import torch

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def fit(base, tmp_path):
    from medtune.backends.peft import PeftAdapter
    from medtune.backends.trl import TrlTrainer
    from medtune.machine.hardware import seed_all
    from medtune.planning.make_plan import total_steps
    from medtune.plugins.contracts import Job
    from medtune.runs.store import CheckpointStore
    from medtune.testing.tiny import RandomRows, tiny_base
    from medtune.testing.tiny_run import adapter_digest

    def run(name, combination, stop_after=None):
        scheme, optim, precision, packed = combination
        train = {
            "max_length": 24,
            "num_train_epochs": 2,
            "gradient_accumulation_steps": 2,
            "logging_steps": 3,
            "save_strategy": "no",
            "optim": optim,
            "precision": precision,
        }
        # bitsandbytes pages states of 100,000 values and more: lora_A has r x 64
        spec = RunSpec.model_validate({"train": train, "lora": {"r": 2048}})
        rows, steps, logs = RandomRows(packed=packed), [], []
        found, _passed = CheckpointStore(tmp_path / name / "checkpoints", 2).newest_whole()
        seed_all(spec.seed)
        job = Job(
            spec=spec,
            loaded=PeftAdapter().attach(tiny_base(base, scheme, "cuda:0"), spec.lora),
            rows=rows,
            run_dir=tmp_path / name,
            total_steps=total_steps(spec, len(rows)),
            resume_from=found.path if found else None,
            on_log=lambda record: logs.append(comparable(record)) if "step" in record else None,
            on_step=steps.append,
            stop_reason=lambda: "asked to" if steps[-1] == stop_after else None,
        )
        result = TrlTrainer().fit(job)
        return adapter_digest(job.loaded), logs, result

    return run


@pytest.mark.parametrize(
    "combination",
    [
        pytest.param(each, id="-".join(map(str, each)), marks=[] if each in TELLING else pytest.mark.proof)
        for each in COMBINATIONS
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted_on_cuda(fit, combination):
    digest, logs, _result = fit("whole", combination)
    for stop_after in (3, 7):
        _digest, first_logs, first = fit(f"cut-{stop_after}", combination, stop_after)
        assert first.interrupted == "asked to"
        resumed_digest, second_logs, _result = fit(f"cut-{stop_after}", combination)
        assert resumed_digest == digest
        assert len(logs) > len(first_logs) > 0
        assert first_logs + second_logs == logs
