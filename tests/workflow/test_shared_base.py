"""One base for several adapters: it is handed out as it was loaded, to the bit, or loaded anew."""

import hashlib
import random
from dataclasses import replace

import pytest
import torch

from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.machine.hardware import seed_all
from medtune.specs import LoraSpec, ModelSpec, QuantSpec
from medtune.testing.tiny import tiny_base
from medtune.workflow.shared_base import SharedBase

MODEL, QUANT = ModelSpec(), QuantSpec(scheme="none")


def digest(model):
    """Return one hash over names and bytes of all values."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode() + value.contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def used(loaded):
    """Change every trained value, as training does, and let the model answer."""
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
        loaded.model.train()
        loaded.model(input_ids=torch.arange(5)[None])


@pytest.fixture
def loading(tmp_path):
    """Return what loads a base, and counts."""

    class Loading:
        calls = 0

        def __call__(self):
            self.calls += 1
            return tiny_base(tmp_path / "base")

    return Loading()


def taken(bases, load, model=MODEL):
    bases.holds(model, QUANT)
    return bases.take(model, QUANT, load)


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True},
        {"init": "pissa", "r": 4},
        {"init": "olora", "r": 4},
        {"init": "orthogonal"},
        {"bias": "all"},
        {"bias": "lora_only", "target_modules": ["q_proj", "down_proj"]},
    ],
    ids=str,
)
def test_an_adapter_that_is_taken_off_leaves_every_value_of_the_base_as_it_was(loading, lora):
    told = []
    bases = SharedBase(told.append)
    base = taken(bases, loading)
    before, frozen = digest(base.model), {name for name, p in base.model.named_parameters() if p.requires_grad}
    for _again in range(2):
        attached = PeftAdapter().attach(base, LoraSpec(**lora))
        bases.attached(attached)
        used(attached)
        base = taken(bases, loading)
        assert digest(base.model) == before
        assert {name for name, p in base.model.named_parameters() if p.requires_grad} == frozen == set()
    assert (loading.calls, bases.loads, told) == (1, 1, [])


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_a_quantized_base_is_left_as_it_was_too(tmp_path, scheme):
    tiny_base(tmp_path / "base")
    model, quant = ModelSpec(name="tiny", path=str(tmp_path / "base")), QuantSpec(scheme=scheme)
    bases = SharedBase()

    def again():
        bases.holds(model, quant)
        return bases.take(model, quant, lambda: BitsAndBytesQuantizer().load(model, quant))

    base = again()
    before = digest(base.model)
    attached = PeftAdapter().attach(base, LoraSpec(r=4))
    bases.attached(attached)
    used(attached)
    assert digest(again().model) == before
    assert bases.loads == 1


def test_an_adapter_begins_on_a_shared_base_with_the_values_that_it_has_on_a_fresh_one(loading):
    def first_values(base):
        attached = PeftAdapter().attach(base, LoraSpec(r=8))
        return attached, {name: p.clone() for name, p in attached.model.named_parameters() if p.requires_grad}

    bases = SharedBase()
    bases.attached(PeftAdapter().attach(taken(bases, loading), LoraSpec(r=2)))
    bases.holds(MODEL, QUANT)
    seed_all(7)
    _attached, shared = first_values(bases.take(MODEL, QUANT, loading))
    seed_all(7)
    _attached, alone = first_values(loading())
    assert shared.keys() == alone.keys()
    assert all(torch.equal(shared[name], alone[name]) for name in alone)


def test_another_base_takes_the_place_of_the_first(loading):
    bases = SharedBase()
    bases.attached(PeftAdapter().attach(taken(bases, loading), LoraSpec(r=2)))
    taken(bases, loading, ModelSpec(name="another/base"))
    assert bases.loads == 2


def _spoiled(model):
    model.get_input_embeddings().weight.data[0] += 1e-3
    return model


def _hooked(model):
    model.get_input_embeddings().register_forward_hook(lambda *_given: None)
    return model


@pytest.mark.parametrize("change", [_spoiled, _hooked])
def test_a_base_that_is_not_what_was_loaded_is_given_up_and_that_is_said(loading, change):
    told = []
    bases = SharedBase(told.append)
    attached = PeftAdapter().attach(taken(bases, loading), LoraSpec(r=2))
    bases.attached(replace(attached, detach=lambda: change(attached.detach())))
    taken(bases, loading)
    assert loading.calls == 2
    assert told == ["the base model in memory is given up: it is not what it was once the adapter was taken off"]


def test_a_backend_that_cannot_take_its_adapter_off_gets_a_base_of_its_own_each_time(loading):
    told = []
    bases = SharedBase(told.append)
    bases.attached(replace(PeftAdapter().attach(taken(bases, loading), LoraSpec(r=2)), detach=None))
    taken(bases, loading)
    assert loading.calls == 2
    assert "Loaded.detach" in told[0]


def test_a_base_on_which_attaching_failed_is_not_used_again(loading):
    told = []
    bases = SharedBase(told.append)
    taken(bases, loading)  # and nothing is attached
    taken(bases, loading)
    assert loading.calls == 2
    assert "could not be attached" in told[0]


def test_a_base_whose_loading_draws_is_loaded_for_each_setting(loading):
    """An adapter's first values would come from other draws than in a run of its own."""

    def drawing():
        random.random()
        return loading()

    bases = SharedBase()
    bases.attached(PeftAdapter().attach(taken(bases, drawing), LoraSpec(r=2)))
    taken(bases, drawing)
    assert loading.calls == 2
