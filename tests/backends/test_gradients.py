"""An update is the same however its rows are shared out over micro-batches, the last partial window included."""

from itertools import pairwise

import pytest
import torch

from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

RATE = 0.5
PLAIN = {  # so that every change of a parameter is its gradient
    "max_length": 60,
    "num_train_epochs": 1,
    "optim": "sgd",
    "learning_rate": RATE,
    "lr_scheduler_type": "constant",
    "warmup_ratio": 0,
    "max_grad_norm": 1e9,
    "logging_steps": 1,
    "save_strategy": "no",
}
SHARED_OUT = {"8 x 1": (8, 1), "4 x 2": (4, 2), "1 x 8": (1, 8)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


def gradients(base, folder, rows, batch_size, accumulation):
    """Train over ``rows`` and return the gradient of each update, [updates, parameters], and the records."""
    spec = RunSpec.model_validate(
        {
            "train": {**PLAIN, "per_device_batch_size": batch_size, "gradient_accumulation_steps": accumulation},
            "lora": {"dropout": 0, "target_modules": "all-linear"},
        }
    )
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(tiny_base(base), spec.lora)
    adapter = [p for p in loaded.model.parameters() if p.requires_grad]
    draw = torch.Generator().manual_seed(0)
    for parameter in adapter:  # lora_B begins at zero, which would hide the gradient of lora_A
        parameter.data = torch.randn(parameter.shape, generator=draw) * 0.05
    values, logs = [snapshot(adapter)], []
    job = Job(
        spec,
        loaded,
        rows,
        folder,
        total_steps(spec, len(rows)),
        on_step=lambda _step: values.append(snapshot(adapter)),
        on_log=logs.append,
    )
    TrlTrainer().fit(job)
    return [(before - after) / RATE for before, after in pairwise(values)], logs


def snapshot(parameters):
    return torch.cat([p.detach().double().flatten() for p in parameters])


@pytest.mark.parametrize("packed", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_eight_by_one_four_by_two_and_one_by_eight_have_the_same_gradients(base, tmp_path, packed):
    rows = RandomRows(count=13, max_length=60, packed=packed)
    counts = [sum(rows[i].supervised) for i in range(len(rows))]
    assert len(set(counts)) > 3
    found = {name: gradients(base, tmp_path / name, rows, *sizes) for name, sizes in SHARED_OUT.items()}
    expected, records = found["8 x 1"]
    assert len(expected) == 2  # eight rows, and the five that are left
    assert all(float(gradient.norm()) > 0.1 for gradient in expected)
    for name, (own, logs) in found.items():
        assert len(own) == 2
        for one, other in zip(own, expected, strict=True):
            assert float((one - other).abs().max()) < 1e-6, name
        for key in ("loss", "grad_norm", "supervised_tokens", "tokens"):
            assert [r[key] for r in logs] == pytest.approx([r[key] for r in records], abs=1e-6), (name, key)


def test_every_supervised_token_weighs_the_same_in_an_update(base, tmp_path):
    """The gradient of a window is that of its rows one by one, weighted by their supervised tokens."""
    rows = RandomRows(count=3)
    (together,), _logs = gradients(base, tmp_path / "together", rows, 1, 8)
    weighted, total = 0, 0
    for index in range(3):
        (alone,), _logs = gradients(base, tmp_path / f"row{index}", OneRow(rows, index), 1, 1)
        supervised = sum(trained(rows[index]))
        weighted, total = weighted + supervised * alone, total + supervised
    assert float((together - weighted / total).abs().max()) < 1e-6


def trained(row):
    """Return supervision without the first token of each sample, which no token predicts."""
    starts = {sum(row.lengths[:i]) for i in range(len(row.lengths))}
    return [s for i, s in enumerate(row.supervised) if i not in starts]


class OneRow:
    fingerprint = "one"

    def __init__(self, rows, index):
        self._rows, self._index = rows, index

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self._rows[self._index]

    def row_id(self, sample):
        return self._rows.row_id(sample)

    def source(self, sample):
        return self._rows.source(sample)
