"""A plan tells what becomes of the rows where they are at hand, and asks no network for them."""

import json
import socket

import pytest
import torch

from demo_base.generator import generate_rows
from medtune import DataSpec, MedTuner, ModelSpec, RunSpec
from medtune.accel import train as kernels
from medtune.cli.app import run
from medtune.data.pack import to_batch
from medtune.data.prepare import prepare
from medtune.data.tokenizer import load_tokenizer
from medtune.planning import counting
from medtune.plugins.host import create_host
from medtune.testing.tiny import tiny_base

ROWS = list(generate_rows("train", 20, 0))


@pytest.fixture(scope="module")
def host():
    return create_host(autoload=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A cache of its own, and no network."""

    def refuse(*_arguments):
        raise AssertionError("the network was asked")

    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def spec_of(base, source, max_length=4096, **data):
    values = {"validation_fraction": 0.0, "accept_loss": True, **data}
    return RunSpec(
        model=ModelSpec(name="tiny", path=str(base)),
        data=DataSpec(source=str(source), **values),
        train={"max_length": max_length},
    )


def test_local_rows_are_counted_and_kept_for_training(host, base, file):
    tuner = MedTuner(spec_of(base, file), plugins=host)
    plan = tuner.plan()
    report = tuner.inspect(1).report
    assert report.from_cache
    assert (plan.data["rows"], plan.data["tokens"]) == (120, report.tokens)
    assert plan.size_is_measured
    assert plan.tokens == report.tokens
    assert plan.data["sources"].keys() == report.sources.keys()
    assert json.loads(json.dumps(plan.to_json()))["data"] == plan.data


def test_the_length_of_samples_is_counted_over_their_tokens(host, base, file):
    spec = spec_of(base, file)
    prepared = prepare(spec, host, load_tokenizer(spec.model))
    lengths = [length for i in range(len(prepared.rows)) for length in prepared.rows[i].lengths]
    of_each_token = [length for length in lengths for _token in range(length)]
    plan = MedTuner(spec, plugins=host).plan()
    assert plan.data["sample_tokens"] == pytest.approx(sum(of_each_token) / len(of_each_token))
    assert min(lengths) < plan.data["sample_tokens"] < max(lengths)


def test_common_prefixes_are_those_that_the_fast_path_would_compute_once(host, base, file):
    spec = spec_of(base, file)
    spec = spec.model_copy_with(
        train=spec.train.model_copy_with(per_device_batch_size=10_000)
    )  # all rows in one update
    told = MedTuner(spec, plugins=host).plan().data["common_prefixes"]["10000"]
    prepared = prepare(spec, host, load_tokenizer(spec.model))
    arrays = to_batch([prepared.rows[i] for i in range(len(prepared.rows))], spec.train.max_length, 0)
    rows = [torch.from_numpy(arrays[name]) for name in ("input_ids", "position_ids", "labels")]
    whole, shared = kernels.lay_out(*rows), kernels.lay_out(*rows, longest_shared=spec.train.max_length)
    assert 0 < told == pytest.approx((len(whole.ids) - len(shared.ids)) / prepared.report.tokens)


def test_samples_have_more_in_common_the_more_of_them_meet_in_a_micro_batch(host, base, file):
    spec = spec_of(base, file)
    train = spec.train.model_copy_with(per_device_batch_size=4, gradient_accumulation_steps=2)
    shares = MedTuner(spec.model_copy_with(train=train), plugins=host).plan().data["common_prefixes"]
    assert list(shares) == ["1", "2", "4", "8"]
    assert shares["8"] > shares["1"]


def test_losses_to_length_are_told_per_source_and_in_all(host, base, file):
    whole = MedTuner(spec_of(base, file), plugins=host).plan().data
    limit = whole["needed"]["95"]
    data = MedTuner(spec_of(base, file, max_length=limit), plugins=host).plan().data
    lost = {name: source["lost_rows"] for name, source in data["sources"].items()}
    assert 0 < data["lost_rows"] == sum(lost.values()) <= 0.05 * 120
    assert data["rows"] == 120 - data["lost_rows"]
    assert data["lost_supervised_tokens"] == whole["supervised_tokens"] - data["supervised_tokens"] > 0
    assert data["needed"] == whole["needed"]
    assert list(data["needed"]) == ["95", "99", "100"]
    everything = MedTuner(spec_of(base, file, max_length=whole["needed"]["100"]), plugins=host).plan().data
    assert everything["lost_rows"] == 0


def test_a_loss_that_was_not_accepted_is_told_and_not_raised(host, base, file):
    spec = spec_of(base, file, max_length=300, accept_loss=False)
    refused = MedTuner(spec, plugins=host).plan().data["refused"]
    assert "set data.accept_loss=true" in refused
    assert MedTuner(spec_of(base, file, max_length=300), plugins=host).plan().data["refused"] == ""


def test_rows_passed_as_objects_are_counted_unless_they_can_be_read_once_only(host, base):
    spec = spec_of(base, "rows")
    assert MedTuner(spec, plugins=host, rows=ROWS).plan().data["rows"] == 120
    once = iter(ROWS)
    assert MedTuner(spec, plugins=host, rows=once).plan().data == {}
    assert next(once) == ROWS[0]


def test_rows_that_do_not_say_how_many_they_are_are_not_counted(host, base):
    class Unsized:
        def __iter__(self):
            return iter(ROWS)

    assert MedTuner(spec_of(base, "rows"), plugins=host, rows=Unsized()).plan().data == {}


@pytest.mark.parametrize(
    "spec",
    [
        RunSpec(),
        RunSpec(model=ModelSpec(name="no/tokenizer")),
        RunSpec(data=DataSpec(source="owner/follows-a-branch", revision=None)),
    ],
    ids=["default", "model on the hub", "data on the hub"],
)
def test_what_is_on_the_hub_is_not_counted(host, base, file, spec):
    given = spec.model_copy_with(data=spec_of(base, file).data) if spec.model.name == "no/tokenizer" else spec
    if spec.data.source.startswith("owner/"):
        given = spec.model_copy_with(model=spec_of(base, file).model)
    assert MedTuner(given, plugins=host).plan().data == {}


def test_a_file_that_is_not_there_yet_is_not_counted(host, base, tmp_path):
    assert MedTuner(spec_of(base, tmp_path / "later.jsonl"), plugins=host).plan().data == {}


def test_a_large_set_is_counted_once_it_was_prepared(host, base, file, monkeypatch):
    monkeypatch.setattr(counting, "_QUICK_BYTES", 10)
    tuner = MedTuner(spec_of(base, file), plugins=host)
    assert tuner.plan().data == {}
    tuner.inspect(1)
    assert tuner.plan().data["rows"] == 120


def test_the_command_tells_losses_and_needs(base, file, capsys):
    settings = [f"model.path={base}", f"data.source={file}", "data.validation=null", "train.max_length=300"]
    settings.append("train.per_device_batch_size=40")
    arguments = ["plan", "--bundle", "demo", *(part for setting in settings for part in ("--set", setting))]
    assert run([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert run(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{data['lost_rows']} rows with" in shown
    assert f"99 % need {data['needed']['99']}" in shown
    assert "would lose" in shown
    assert f"{data['common_prefixes']['40']:.1%} of a micro-batch's tokens" in shown
