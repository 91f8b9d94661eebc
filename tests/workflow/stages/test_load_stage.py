"""The second stage loads the base as the plan stores it, with a fresh adapter drawn by the seed."""

from dataclasses import replace
from types import ModuleType

import torch

from medtune import hookimpl
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.data.prepare import encoder_of
from medtune.workflow.stages.load import load
from medtune.workflow.stages.prepare import prepare


def trainable(loaded):
    return {name: p.detach().clone() for name, p in loaded.model.named_parameters() if p.requires_grad}


def test_the_base_is_frozen_and_the_adapter_drawn_by_the_seed(asked, told):
    state = prepare(asked())
    first, again = trainable(load(state)), trainable(load(state))
    assert first
    assert all("lora_" in name for name in first)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert told[1] == "loading the base model (none)"
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
