"""The second stage loads the base as the plan stores it, with a fresh adapter drawn by the seed."""

from dataclasses import replace
from types import ModuleType

import pytest
import torch

from medtune import hookimpl
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.data.prepare import encoder_of
from medtune.errors import PluginContractError, PluginError, UnsafeArtifactError
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import prepare
from medtune.workflow.stages.score import score_base


def trainable(loaded):
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}


def test_the_base_is_frozen_and_the_adapter_drawn_by_the_seed(asked, told):
    state = prepare(asked())
    first, again = trainable(load(state)), trainable(load(state))
    assert first
    assert all("lora_" in name for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert "loading the base model (none)" in told
    other = trainable(load(replace(state, asked=asked(seed=7))))
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_storage_is_the_plan_s_where_the_spec_leaves_it_open(asked):
    state = prepare(asked())
    undecided = replace(asked(), spec=state.asked.spec.model_copy_with(quant={"scheme": "auto"}))
    loaded = load(replace(state, asked=undecided, plan=replace(state.plan, scheme="nf4")))
    assert loaded.scheme == "nf4"
    assert any(type(module).__name__ == "Linear4bit" for module in loaded.model.modules())


class Deaf(BitsAndBytesQuantizer):
    """A plugin's quantizer that takes another token for the end of an answer."""

    name = "deaf"

    def load(self, model, spec):
        return replace(super().load(model, spec), stop_ids=(7,))


def test_answers_end_where_the_encoder_says_whatever_a_quantizer_says(asked):
    plugin = ModuleType("deaf")
    plugin.provide_quantizers = hookimpl(lambda: [Deaf()])
    request = asked(plugin=plugin)
    deaf = request.spec.model_copy_with(quant={"scheme": "none", "backend": "deaf"})
    loaded = load(prepare(replace(request, spec=deaf)))
    assert loaded.stop_ids == encoder_of(deaf, loaded.tokenizer).stop_ids != (7,)


class Leaky(PeftAdapter):
    """A plugin's adapter that leaves something of itself in the base."""

    def attach(self, loaded, spec):
        attached = super().attach(loaded, spec)
        loaded.model.model.norm.weight.data *= 1.01
        return attached


class Silent(PeftAdapter):
    """A plugin's adapter that does not say how the base answers without it."""

    def attach(self, loaded, spec):
        return replace(super().attach(loaded, spec), base_only=loaded.base_only)


def providing(adapter):
    plugin = ModuleType("own_adapter")
    adapter.name = "own"
    plugin.provide_adapters = hookimpl(lambda: [adapter], specname="provide_adapters")
    return plugin


def test_an_adapter_that_changes_its_base_is_refused(asked):
    with pytest.raises(PluginContractError, match=r"adapter 'own'\.attach changed the base's 'model.norm.weight'"):
        load(prepare(asked(lora={"backend": "own"}, plugin=providing(Leaky()))))


def test_a_base_is_not_scored_where_nobody_says_how_it_answers(asked):
    state = prepare(asked(lora={"backend": "own"}, plugin=providing(Silent())))
    with pytest.raises(PluginError, match="does not say how the base answers"):
        score_base(state, load(state))


class Plain(PeftAdapter):
    """An adapter that is only switched off where the base is asked."""

    def attach(self, loaded, spec):
        attached = super().attach(loaded, spec)
        return replace(attached, base_only=attached.model.disable_adapter)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_adapter_that_is_only_switched_off_does_not_give_back_what_its_initialisation_took(asked, init):
    state = prepare(asked(lora={"init": init, "backend": "own"}, plugin=providing(Plain())))
    with pytest.raises(UnsafeArtifactError, match="does not answer as its base did"):
        load(state)
    load(replace(state, asked=replace(state.asked, spec=state.asked.spec.model_copy_with(lora={"init": init}))))
