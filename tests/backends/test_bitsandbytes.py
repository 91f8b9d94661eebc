"""The base is loaded frozen, from safetensors only, and stays differentiable after it was scored."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from medtune import LoraSpec, ModelSpec, QuantSpec
from medtune.backends.bitsandbytes import SCHEMES, BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.errors import BaseDamagedError, BaseUnsuitedError, SpecError, UnknownNameError
from medtune.machine import hardware
from medtune.machine.libraries import quiet_libraries
from medtune.testing.tiny import tiny_base

IDS = torch.arange(2, 22)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    with quiet_libraries():
        tiny_base(path).tokenizer.save_pretrained(path)
    return path


def load(folder, scheme):
    return BitsAndBytesQuantizer().load(ModelSpec(path=str(folder)), QuantSpec(scheme=scheme))


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_loads_a_frozen_base_near_the_plain_one(folder, scheme):
    loaded = load(folder, scheme)
    plain = logits(load(folder, "none").model)
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert (loaded.scheme, loaded.device, loaded.compute_dtype) == (scheme, "cpu", "fp32")
    error = (logits(loaded.model) - plain).norm() / plain.norm()
    assert error == 0 if scheme == "none" else 0 < error < 0.5


def test_the_whole_base_lies_on_the_device_of_its_process_whatever_others_there_are(folder, monkeypatch):
    """Here "meta" stands for another device than the first, which a machine without GPUs has too."""
    monkeypatch.setattr(hardware, "local_device", lambda: "meta")
    loaded = load(folder, "none")
    values = [*loaded.model.parameters(), *loaded.model.buffers()]
    assert loaded.device == "meta"
    assert {value.device.type for value in values if value.numel() > 64} == {"meta"}


@pytest.mark.parametrize("scheme", ["nf4", "fp4"])
def test_the_linear_layers_are_stored_in_four_bits(folder, scheme):
    from bitsandbytes.nn import Linear4bit

    layers = [m for m in load(folder, scheme).model.modules() if isinstance(m, Linear4bit)]
    assert len(layers) == 14
    assert {m.weight.quant_type for m in layers} == {scheme}


@pytest.mark.parametrize("scheme", ["nf4", "int8"])
def test_scoring_a_base_leaves_its_gradients_as_they_were(folder, scheme):
    """A pass in evaluation mode must not change what training computes afterwards."""

    def gradients(*, score_first):
        torch.manual_seed(0)
        model = PeftAdapter().attach(load(folder, scheme), LoraSpec(dropout=0)).model
        if score_first:
            logits(model)
        model.train()
        model(input_ids=IDS).logits.square().mean().backward()
        return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}

    before, after = gradients(score_first=False), gradients(score_first=True)
    assert any(g.abs().sum() > 0 for g in before.values())
    for name, gradient in before.items():
        torch.testing.assert_close(after[name], gradient)


def test_a_scheme_of_another_backend_is_answered_with_those_it_has(folder):
    with pytest.raises(UnknownNameError, match=r"no scheme of quantizer 'bitsandbytes' named 'fp8'.*'nf4'"):
        load(folder, "fp8")


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(SpecError, match=r"has no config.json, so it is no base"):
        load(tmp_path, "none")


def test_pickled_weights_are_not_loaded(folder, tmp_path):
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"has its weights as pickles only \('pytorch_model.bin'\)"):
        load(tmp_path, "none")


def test_code_named_by_a_config_is_not_run(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "custom", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises((SpecError, ValueError)):
        load(tmp_path, "none")
    assert not marker.exists()


def test_a_base_that_is_quantized_already_is_used_as_it_is(folder, tmp_path):
    fresh = load(folder, "nf4")
    fresh.model.save_pretrained(tmp_path)
    fresh.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path, "nf4")
    assert again.scheme == "nf4"
    torch.testing.assert_close(logits(again.model), logits(fresh.model))
    with pytest.raises(BaseUnsuitedError, match=r"quantized already, in nf4, .* set quant\.scheme=nf4") as refused:
        load(tmp_path, "none")
    assert refused.value.check == "quantized"


def test_what_the_loader_would_fill_in_is_refused_even_where_nothing_was_inspected(folder, tmp_path, monkeypatch):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr("medtune.backends.base_model.inspect_base", lambda *_spec, **_options: None)
    with pytest.raises(BaseDamagedError, match=r"lacks 1 tensors of its architecture, such as model\.norm\.weight"):
        load(tmp_path, "none")
