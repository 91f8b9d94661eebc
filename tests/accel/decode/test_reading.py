"""A model that the decoder cannot run is refused with a reason, before memory is taken."""

import pytest
import torch
import transformers

from medtune import LoraSpec
from medtune.accel.decode.reading import read_decoder, survey
from medtune.accel.model.unsupported import UnsupportedError
from medtune.backends.peft import PeftAdapter
from medtune.machine.libraries import quiet_libraries
from medtune.testing.tiny import tiny_base


@pytest.fixture
def loaded(tmp_path):
    return tiny_base(tmp_path)


def refused(model, reason, dtype=torch.float32):
    with pytest.raises(UnsupportedError, match=reason):
        read_decoder(survey(model, dtype), dtype, dequantize=True)


def test_an_unknown_family_is_refused_by_name():
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, bos_token_id=None, eos_token_id=1)
    refused(transformers.GPT2LMHeadModel(config), "its model type is 'gpt2'; known are mistral, llama")


def test_a_base_in_another_type_is_refused(loaded):
    refused(loaded.model, "stored in torch.float32 and computes in torch.bfloat16", torch.bfloat16)


def test_angles_that_depend_on_the_length_are_refused(loaded):
    loaded.model.model.rotary_emb.rope_type = "dynamic"
    refused(loaded.model, "rotary angles are of type 'dynamic'")


def test_another_activation_is_refused(loaded):
    loaded.model.config.hidden_act = "gelu"
    refused(loaded.model, "its activation is gelu, not silu")


def test_a_hook_is_refused_with_its_place(loaded):
    loaded.model.model.layers[1].mlp.register_forward_hook(lambda *_: None)
    refused(loaded.model, "a hook is registered on 'model.layers.1.mlp'")


def test_the_hook_that_recomputing_training_leaves_is_no_hindrance(loaded):
    loaded.model.enable_input_require_grads()
    assert survey(loaded.model, torch.float32).layers == 2


def test_dora_is_refused(loaded):
    refused(PeftAdapter().attach(loaded, LoraSpec(use_dora=True)).model, "special kind, such as DoRA")


def test_another_kind_of_adapter_is_refused(loaded):
    from peft import IA3Config, get_peft_model

    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    with quiet_libraries():
        model = get_peft_model(loaded.model, config)
    refused(model, "its adapter is IA3, not LoRA")


def test_an_unknown_storage_is_refused_by_name(loaded):
    class Rounded(torch.nn.Linear):
        pass

    loaded.model.model.layers[1].mlp.down_proj = Rounded(128, 64, bias=False)
    refused(loaded.model, "its layers are stored as Rounded")


def test_the_memory_of_the_adapters_copies_is_known_before_it_is_taken(loaded):
    model = (
        PeftAdapter().attach(loaded, LoraSpec(r=4, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"])).model
    )
    found = survey(model, torch.float32)
    read = read_decoder(found, torch.float32, dequantize=True)
    kept = [p.adapters for layer in read.layers for p in (layer.qkv, layer.o, layer.gate_up, layer.down) if p.adapters]
    copies = [t for low_rank in kept for t in (low_rank.down, low_rank.up, low_rank.narrow) if t is not None]
    narrow = 4 * 4 * 2 * ((64 + 32 + 32) + (128 + 128))  # counted although not every layer there has an adapter
    assert found.adapter_bytes == sum(t.nbytes for t in copies) + narrow
