"""The log tells the loss of each source, on both routes, and counts neither refused nor repeated work."""

import pytest
import torch
from graphs_on_a_cpu import graphs_on_a_cpu

from medtune.backends.by_source import SourceLosses
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base

TRAIN = {"max_length": 24, "gradient_accumulation_steps": 2, "logging_steps": 3, "optim": "adamw_torch"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


def logs_of(base, folder, **train):
    spec = RunSpec.model_validate({"train": {**TRAIN, "save_strategy": "no", **train}})
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(tiny_base(base), spec.lora)
    rows, logs = RandomRows(), []
    job = Job(spec, loaded, rows, folder, total_steps(spec, len(rows)), on_log=logs.append)
    TrlTrainer().fit(job)
    return [record for record in logs if "loss" in record]


@pytest.mark.parametrize("route", ["auto", "off"])
def test_losses_of_sources_average_to_the_loss_and_tokens_add_up(base, tmp_path, route):
    record = logs_of(base, tmp_path, fast_path=route, logging_steps=1)[0]
    means, counts = record["loss_by_source"], record["supervised_by_source"]
    assert set(means) == set(counts) == {"NCBI-disease", "MedNLI"}
    assert sum(counts.values()) == record["supervised_tokens"]
    total = sum(means[name] * counts[name] for name in means)
    assert total / record["supervised_tokens"] == pytest.approx(record["loss"], rel=1e-4)


def test_both_routes_log_the_same_losses_of_sources(base, tmp_path):
    fast, plain = (
        logs_of(base, tmp_path / route, fast_path=route, per_device_batch_size=2) for route in ("auto", "off")
    )
    for own, other in zip(fast, plain, strict=True):
        assert own["loss_by_source"] == pytest.approx(other["loss_by_source"], rel=1e-2)
        assert own["supervised_by_source"] == other["supervised_by_source"]


@pytest.mark.parametrize("by_device", [False, True])
def test_a_refused_update_and_a_repeated_pass_leave_no_trace(by_device):
    losses = SourceLosses()
    a, b = losses.number_of("a"), losses.number_of("b")
    losses.begin_update({"a": 1, "b": 1}, "cpu")
    losses.note(torch.tensor([100.0]), torch.tensor([a]), 1)  # ran out of memory in its second half
    losses.note(torch.tensor([1.0, 9.0]), torch.tensor([a]), 1)  # 9 is padding
    losses.note(torch.tensor([3.0]), torch.tensor([b]), 1)
    losses.keep_last(2)
    losses.begin_update({"a": 5}, "cpu")
    losses.note(torch.tensor([float("nan")]), torch.tensor([a]), 1)
    losses.keep_last(1)
    if by_device:
        undo = losses.forget_update_if(torch.tensor(1.0))
        losses.begin_update({"b": 0}, "cpu")  # the host hears of it in the next update
        undo()
    else:
        losses.forget_update()
    again = SourceLosses()
    again.number_of("b")  # another order of appearance after a resume
    again.restore(losses.to_json())
    assert losses.means() == again.means() == {"a": 1.0, "b": 3.0}
    assert losses.means() == {}


def test_replayed_passes_tell_the_same_losses_of_sources(base, tmp_path, monkeypatch):
    """The losses come out of a recording of padded size, whose input each micro-batch overwrites."""
    train = {"per_device_batch_size": 2, "gradient_accumulation_steps": 3, "num_train_epochs": 2}
    plain = logs_of(base, tmp_path / "plain", fast_path="off", **train)
    events = graphs_on_a_cpu(monkeypatch)
    fast = logs_of(base, tmp_path / "fast", **train)
    assert len(fast) == len(plain) > 1
    for own, other in zip(fast, plain, strict=True):
        assert own["loss_by_source"] == pytest.approx(other["loss_by_source"], rel=1e-2)
        assert own["supervised_by_source"] == other["supervised_by_source"]
    assert events.count("launched") > 2 * len(fast)
