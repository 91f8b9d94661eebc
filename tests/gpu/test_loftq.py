"""LoftQ brings a rounded base nearer to the plain one, at any scale of the adapter, and is saved and loaded as trained."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from medtune import LoraSpec, ModelSpec, QuantSpec
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.testing.tiny import tiny_base

IDS = torch.arange(2, 34)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loftq") / "base"
    sizes = {"vocab_size": 258, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}
        LlamaForCausalLM(LlamaConfig(**sizes, **heads, bos_token_id=None, eos_token_id=1)).save_pretrained(folder)
    tiny_base(folder.parent / "tokenizer").tokenizer.save_pretrained(folder)
    return folder


def load(folder, scheme):
    spec = QuantSpec(scheme=scheme, compute_dtype="fp32")
    return BitsAndBytesQuantizer().load(ModelSpec(path=str(folder)), spec)


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS.cuda()).logits


@pytest.mark.parametrize("scheme", ["nf4", "fp4"])
@pytest.mark.parametrize("settings", [{"alpha": 32}, {"alpha": 64}, {"alpha": 32, "use_rslora": True}], ids=str)
def test_loftq_corrects_rounding_at_any_scale(folder, tmp_path, scheme, settings):
    plain = logits(load(folder, "none").model)
    rounded = load(folder, scheme)
    before = logits(rounded.model)
    made = PeftAdapter().attach(rounded, LoraSpec(r=32, dropout=0, init="loftq", **settings))
    corrected = logits(made.model)
    assert (corrected - plain).norm() < 0.9 * (before - plain).norm()
    with made.base_only():
        assert torch.equal(logits(made.model), before)
    made.save_adapter(tmp_path)
    made.load_adapter(tmp_path)
    torch.testing.assert_close(logits(made.model), corrected, rtol=0, atol=1e-5)


def test_dora_on_int8_is_saved_and_loaded_as_trained(folder, tmp_path):
    made = PeftAdapter().attach(load(folder, "int8"), LoraSpec(dropout=0, use_dora=True))
    for parameter in made.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    trained = logits(made.model)
    made.save_adapter(tmp_path)
    made.load_adapter(tmp_path)
    torch.testing.assert_close(logits(made.model), trained, rtol=1e-5, atol=1e-5)
