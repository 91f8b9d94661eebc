"""The loss of rows that are not trained on is the plain cross entropy of each, whatever stands beside it, and leaves no trace."""

import pytest
import torch

from medtune.backends import losses
from medtune.backends.peft import PeftAdapter
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.planning.make_plan import total_steps
from medtune.plugins.contracts import Job
from medtune.specs import RunSpec
from medtune.testing.tiny import RandomRows, tiny_base
from medtune.testing.tiny_run import adapter_digest

TRAIN = {"max_length": 48, "gradient_accumulation_steps": 2, "logging_steps": 1, "optim": "adamw_torch", "max_steps": 4}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


def spec_of(**train):
    return RunSpec.model_validate({"train": {**TRAIN, "save_strategy": "no", **train}, "eval": {"every": 2}})


def adapted(base, *, moved=True):
    seed_all(3)
    loaded = PeftAdapter().attach(tiny_base(base), spec_of().lora)
    for name, parameter in loaded.model.named_parameters():
        if moved and "lora_B" in name:
            torch.nn.init.normal_(parameter, std=1.0)
    loaded.model.eval()
    return loaded


def plain(loaded, rows):
    """Return source -> summed loss and tokens, by torch's cross entropy of each sample alone."""
    found = {}
    for number in range(len(rows)):
        row, begin = rows[number], 0
        for sample, length in zip(row.samples, row.lengths, strict=True):
            ids = torch.tensor([row.input_ids[begin : begin + length]])
            marks = torch.tensor(row.supervised[begin + 1 : begin + length], dtype=torch.bool)
            with torch.no_grad():
                logits = loaded.model(input_ids=ids).logits[0, :-1].double()
            each = torch.nn.functional.cross_entropy(logits[marks], ids[0, 1:][marks], reduction="sum")
            total, count = found.get(rows.source(sample), (0.0, 0))
            found[rows.source(sample)] = total + float(each), count + int(marks.sum())
            begin += length
    return found


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for source, (loss, tokens) in wanted.items():
        assert found[source][1] == tokens > 0
        assert found[source][0] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("rows", [RandomRows(5), RandomRows(5, packed=False), RandomRows(5, prefix=6)])
def test_it_is_the_plain_cross_entropy_of_base_and_tuned(base, rows, batch):
    loaded, spec = adapted(base), spec_of(per_device_batch_size=batch, packing=rows.packed)
    before = adapter_digest(loaded)
    tuned = plain(loaded, rows)
    loaded.model.train()  # with its dropout, which no loss may show
    assert_same(TrlTrainer().held_out_losses(loaded, rows, spec), tuned)
    assert loaded.model.training
    loaded.model.eval()
    with loaded.base_only():
        bare = plain(loaded, rows)
        assert_same(TrlTrainer().held_out_losses(loaded, rows, spec), bare)
    assert bare["MedNLI"][0] != pytest.approx(tuned["MedNLI"][0], rel=1e-3)  # the adapter says something
    assert adapter_digest(loaded) == before


@pytest.mark.parametrize("loss", [losses.own_loss, losses.loss_alone])
def test_every_way_of_computing_it_gives_the_same(base, loss):
    from medtune.backends.held_out import held_out_losses

    loaded, rows = adapted(base), RandomRows(4)
    assert_same(held_out_losses(loss, loaded, rows, spec_of(per_device_batch_size=3)), plain(loaded, rows))


def test_logits_exist_in_parts(base, monkeypatch):
    """A base that the fast path trains has no room for the logits of all tokens at once."""
    monkeypatch.setattr(losses, "rows_at_once", lambda _vocabulary: 5)
    loaded, rows, sizes = adapted(base), RandomRows(4), []
    wanted = plain(loaded, rows)
    head = loaded.model.get_base_model().get_output_embeddings()
    head.register_forward_hook(lambda _head, given, _logits: sizes.append(given[0].shape))
    from medtune.backends.held_out import held_out_losses

    assert_same(held_out_losses(losses.supervised_loss, loaded, rows, spec_of(per_device_batch_size=4)), wanted)
    assert max(shape[0] for shape in sizes) == 5
    assert sum(shape[0] for shape in sizes) == sum(tokens for _loss, tokens in wanted.values())


def test_memory_that_is_short_halves_the_batch_and_changes_nothing(base):
    from medtune.backends.held_out import held_out_losses

    def tight(model, input_ids, **given):
        if len(input_ids) > 1:
            raise torch.OutOfMemoryError
        return losses.supervised_loss(model, input_ids, **given)

    loaded, rows = adapted(base), RandomRows(4)
    assert_same(held_out_losses(tight, loaded, rows, spec_of(per_device_batch_size=4)), plain(loaded, rows))


def fitted(base, folder, held_out=None, **train):
    loaded, rows, logs, told = adapted(base, moved=False), RandomRows(max_length=24), [], []
    spec = spec_of(**train)
    job = Job(
        spec,
        loaded,
        rows,
        folder,
        total_steps(spec, len(rows)),
        on_log=logs.append,
        on_evaluate=lambda step: told.append((step, plain(loaded, held_out) if held_out else {})) or 0.5,
        held_out=held_out,
        on_held_out=told.append,
    )
    result = TrlTrainer().fit(job)
    return loaded, result, logs, told


@pytest.mark.parametrize("route", ["auto", "off"])
def test_during_training_it_is_told_before_each_score_and_changes_nothing(base, tmp_path, route):
    held_out = RandomRows(3, seed=9, prefix=4)
    without = fitted(base, tmp_path / "without", fast_path=route)
    loaded, result, logs, told = fitted(base, tmp_path / "with", held_out, fast_path=route)
    assert ("is on" in result.fast_path) == (route == "auto")
    measured, (step, wanted) = told
    assert step == 2
    assert_same(measured, wanted)
    assert adapter_digest(loaded) == adapter_digest(without[0])
    assert [record["loss"] for record in logs if "loss" in record] == [r["loss"] for r in without[2] if "loss" in r]
