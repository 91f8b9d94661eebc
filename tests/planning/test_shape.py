"""A model's dimensions are read from its config.json, and only where it describes a dense Llama-like decoder."""

import pytest

from medtune.planning.memory import Shape

LLAMA = {
    "model_type": "llama",
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "intermediate_size": 28672,
    "vocab_size": 128256,
}
QUERIES_TO_VALUES = ("q_proj", "k_proj", "v_proj")


@pytest.mark.parametrize(
    ("config", "biased"),
    [
        ({}, ()),
        ({"model_type": "qwen2"}, QUERIES_TO_VALUES),
        ({"model_type": "qwen3", "attention_bias": True}, (*QUERIES_TO_VALUES, "o_proj")),
        ({"mlp_bias": True}, ("gate_proj", "up_proj", "down_proj")),
        ({"attention_bias": True, "mlp_bias": True}, tuple(Shape.of(LLAMA).linears)),
    ],
)
def test_biases_are_read_from_family_and_config(config, biased):
    assert Shape.of({**LLAMA, **config}).traits.biased == biased


def test_what_a_config_leaves_out_is_what_transformers_takes():
    least = {name: LLAMA[name] for name in LLAMA if name not in ("model_type", "num_key_value_heads")}
    shape = Shape.of(least)
    assert (shape.num_key_value_heads, shape.head_dim, shape.traits.model_type) == (64, 128, "")
    assert (shape.tied, shape.head_norms, shape.traits.biased) == (False, False, ())
    stated = Shape.of({**least, "head_dim": 64, "tie_word_embeddings": True, "model_type": "qwen3"})
    assert (stated.head_dim, stated.tied, stated.head_norms, stated.traits.model_type) == (64, True, True, "qwen3")
    for name in least:
        assert Shape.of({key: value for key, value in least.items() if key != name}) is None
    assert Shape.of({**least, "hidden_size": "wide"}) is None


def test_a_mixture_of_experts_is_not_taken_for_a_dense_model():
    for name in ("num_local_experts", "num_experts", "n_routed_experts"):
        assert Shape.of({**LLAMA, name: 8}) is None
