"""Whether each process holds the whole base or its share of it: what the spec says, else what fits."""

from dataclasses import replace

import pytest

from medtune import LoraSpec, QuantSpec, RunSpec, TrainSpec
from medtune.errors import SpecError
from medtune.machine.gpus import machine_with
from medtune.planning.choices import Choices
from medtune.planning.make_plan import make_plan
from medtune.planning.memory import Shape
from medtune.planning.parallel import parallel_of
from medtune.plugins.host import create_host
from medtune.specs.parallel import sharding_refusal

LLAMA_70B = Shape(8192, 80, 64, 8, 128, 28672, 128_256, tied=False)
PLAIN = RunSpec(quant=QuantSpec(scheme="none"))
CHOICES = Choices(LLAMA_70B, machine_with("h100"), processes=4)


def changed(spec, **train):
    return spec.model_copy_with(train=spec.train.model_copy_with(**train))


def test_a_base_is_sharded_where_it_fits_only_so():
    assert parallel_of(PLAIN, CHOICES) == "fsdp"
    assert parallel_of(PLAIN, replace(CHOICES, processes=1)) == "ddp"
    assert parallel_of(PLAIN, None) == "ddp"
    small = replace(CHOICES, shape=replace(LLAMA_70B, num_hidden_layers=4))
    assert parallel_of(PLAIN, small) == "ddp"
    assert parallel_of(RunSpec(quant=QuantSpec(scheme="nf4")), CHOICES) == "ddp"  # each with its own copy
    assert parallel_of(changed(PLAIN, on_oom="halve"), CHOICES) == "ddp"
    assert parallel_of(changed(PLAIN, parallel="ddp"), CHOICES) == "ddp"
    assert parallel_of(changed(PLAIN, parallel="fsdp"), small) == "fsdp"


def test_the_storage_of_a_sharded_base_is_open_between_two():
    spec = changed(RunSpec(quant=QuantSpec(scheme="auto")), parallel="fsdp")
    assert CHOICES.scheme(spec)[0].scheme == "none"
    fewer = replace(CHOICES, processes=2, fp8_backend="fp8")
    assert (fewer.scheme(spec)[0].scheme, fewer.scheme(spec)[0].backend) == ("fp8", "fp8")


def test_a_plan_says_that_the_base_is_sharded_and_why_the_fast_path_is_off(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    plan = make_plan(changed(PLAIN, parallel="fsdp"), create_host(autoload=False), machine=machine_with("h100"))
    assert (plan.parallel, plan.path) == ("fsdp", "plain")
    assert plan.path_reason == "train.parallel is fsdp, so that no process holds whole layers"
    assert plan.memory_gib["gathered"] > 0
    assert any("sharded over all processes (FSDP2)" in line for line in plan.lines())
    assert plan.settle(PLAIN).train.parallel == "fsdp"
    assert make_plan(PLAIN, create_host(autoload=False)).parallel == "ddp"


@pytest.mark.parametrize("scheme", ["nf4", "fp4", "int8"])
def test_quantized_weights_of_bitsandbytes_are_not_sharded(scheme):
    with pytest.raises(SpecError, match=r"accelerate issue 3874.*use train.parallel=ddp, where each GPU holds its own"):
        RunSpec(quant=QuantSpec(scheme=scheme), train=TrainSpec(parallel="fsdp"))


@pytest.mark.parametrize(
    ("lora", "train", "reason"),
    [
        ({"init": "pissa"}, {}, "lora.init 'pissa' takes its first values out of whole weights"),
        ({"use_dora": True}, {}, "needs the norms of whole weights"),
        ({"bias": "all"}, {}, "trains values of the base"),
        ({}, {"on_oom": "halve"}, "use train.on_oom=stop"),
        ({}, {"backend": "other"}, "trainer 'other' does not say"),
        ({"backend": "other"}, {}, "adapter 'other' does not say"),
    ],
)
def test_what_needs_a_whole_base_is_refused(lora, train, reason):
    spec = RunSpec(quant=QuantSpec(scheme="none"), lora=LoraSpec(**lora), train=TrainSpec(**train))
    assert reason in sharding_refusal(spec, "none")
    with pytest.raises(SpecError, match=r"or train\.parallel=ddp"):
        changed(spec, parallel="fsdp")
    assert sharding_refusal(PLAIN, "fp8") is None
