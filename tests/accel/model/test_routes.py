"""Planner, trainer and decoder take the same models: what a config.json says decides, and the loaded model agrees."""

import json
import warnings
from copy import deepcopy

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiny_models import draw_batch, gradients, largest_error, plain_loss
from transformers import AutoConfig, AutoModelForCausalLM

from medtune import EvalSpec, LoraSpec, QuantSpec, RunSpec, TrainSpec
from medtune.accel.decode.reading import survey
from medtune.accel.model.eligibility import BaseTraits, decoding_refusal
from medtune.accel.model.unsupported import UnsupportedError
from medtune.accel.train import FastPath
from medtune.backends.losses import choose_route
from medtune.backends.peft import PeftAdapter
from medtune.errors import SpecError
from medtune.machine.hardware import Machine
from medtune.machine.libraries import quiet_libraries
from medtune.planning.choices import Choices
from medtune.planning.memory import Shape
from medtune.plugins.contracts import Job, Loaded

FAMILIES = ("mistral", "llama", "qwen2", "qwen3")
OTHERS = ("gemma2", "mixtral", "phi3", "olmo2", "qwen3_moe", "granite", "cohere", "stablelm")
SIZES = {
    "vocab_size": 131,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ROPE = {
    "default": {},
    "linear": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "dynamic": {"factor": 2.0},
    "longrope": {
        "factor": 2.0,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        "original_max_position_embeddings": 128,
    },
}
ODDITIES = [
    *({"attention_dropout": value} for value in (0.0, 0.1)),
    *({"hidden_act": value} for value in ("silu", "gelu")),
    *({name: value} for name in ("attention_bias", "mlp_bias", "tie_word_embeddings") for value in (True, False)),
    *({name: 30.0} for name in ("final_logit_softcapping", "attn_logit_softcapping", "logit_scale")),
    *({"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **more}} for kind, more in ROPE.items()),
    *({"rope_scaling": {"type": kind, **more}, "rope_theta": 1e4} for kind, more in ROPE.items()),
    {"partial_rotary_factor": 0.5},
    {"partial_rotary_factor": 1.0},
    {"num_local_experts": 4},
    {"sliding_window": 7},
    {"sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1},
    {"sliding_window": 7, "use_sliding_window": True, "layer_types": ["full_attention", "sliding_attention"]},
    {"layer_types": ["full_attention", "full_attention"]},
    {"layer_types": ["full_attention", "chunked_attention"]},
    {"head_dim": 16},
]
ADAPTERS = [
    {},
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": ["down_proj"], "use_rslora": True},
    {"use_dora": True},
    {"bias": "lora_only"},
    {"bias": "all"},
]


@st.composite
def configs(draw):
    """Draw a config.json, of known families mostly, with up to two of what models differ in."""
    family = draw(st.sampled_from((*FAMILIES * 4, *OTHERS)))
    config = {**SIZES, "model_type": family}
    for change in draw(st.lists(st.sampled_from(ODDITIES), max_size=2)):
        config |= change
    return config


@quiet_libraries()
def build(config):
    """Return a random model of a config.json, as it would be loaded; None where transformers has none."""
    torch.manual_seed(0)
    fields = {name: deepcopy(value) for name, value in config.items() if name != "model_type"}  # it writes into them
    try:
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(config["model_type"], **fields), dtype=torch.float32
        )
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 2, dtype=torch.long))
    except Exception:  # noqa: BLE001 - whatever it says, there is no model to be taken
        return None
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_()
    return model.eval().requires_grad_(requires_grad=False)


def decodes(base):
    """Return whether the decoder takes a model."""
    try:
        survey(base, torch.float32)
    except UnsupportedError:
        return False
    return True


def attached(base, lora):
    """Return a loaded model with a fresh adapter, None where peft has none for it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # peft says what it does to mixtures of experts
            return PeftAdapter().attach(Loaded(base, None, "cpu", "fp32", (2,), "none"), lora)
    except (SpecError, ValueError):
        return None


def planned(config, spec):
    """Return the path that a plan expects of a config."""
    shape = Shape.of(config)
    return "plain" if shape is None else Choices(shape, Machine(4, 64, ())).best(spec).setting.path


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(configs(), st.sampled_from(ADAPTERS))
def test_the_plans_route_is_the_trainers_and_the_decoders(config, adapter):
    base = build(config)
    assume(base is not None)
    spec = RunSpec(
        lora=LoraSpec(dropout=0.0, **adapter), quant=QuantSpec(scheme="none"), train=TrainSpec(), eval=EvalSpec()
    )
    saved = base.config.to_dict()
    may_decode = decoding_refusal(BaseTraits.of(config)) is None
    assert (decoding_refusal(BaseTraits.of(saved)) is None) == may_decode == decodes(base)
    loaded = attached(base, spec.lora)
    assume(loaded is not None)
    expected = planned(config, spec)
    assert planned(saved, spec) == expected
    route = choose_route(Job(spec, loaded, None, None, 1))
    assert isinstance(route, FastPath) == (expected == "fast"), str(route)
    assert may_decode or expected == "plain"
    if expected == "fast":
        batch = draw_batch(rows=1, length=24, samples=2, vocabulary=131)
        wanted = gradients(loaded.model.train(), plain_loss(loaded.model, *batch))
        found = gradients(loaded.model, route.loss_sum(*batch))
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=0)
        moved = {name: value for name, value in wanted[1].items() if "lora_B" in name}  # A's are zero at first
        assert largest_error({name: found[1][name] for name in moved}, moved) < 1e-3


@pytest.mark.parametrize(
    ("config", "may_decode", "trains"),
    [
        ({"model_type": "mistral", "attention_dropout": 0.1}, True, False),
        ({"model_type": "llama", "attention_bias": True}, True, False),
        ({"model_type": "mistral", "attention_bias": True}, True, True),
        ({"model_type": "qwen2", "sliding_window": 7, "use_sliding_window": False}, True, True),
        ({"model_type": "qwen2", "sliding_window": 7, "use_sliding_window": True, "max_window_layers": 1}, True, True),
        ({"model_type": "qwen3", "tie_word_embeddings": True}, True, True),
        ({"model_type": "llama", "partial_rotary_factor": 0.5}, False, False),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, False, False),
        ({"model_type": "gemma2"}, False, False),
        ({"model_type": "mistral", "sliding_window": 0}, False, False),
        ({"model_type": "qwen2", "sliding_window": 0, "use_sliding_window": False}, True, True),
    ],
)
def test_cases_that_were_once_judged_apart_are_judged_alike(config, may_decode, trains):
    base, spec = build(SIZES | config), RunSpec(quant=QuantSpec(scheme="none"))
    assert planned(SIZES | config, spec) == ("fast" if trains else "plain")
    assert decodes(base) == may_decode
    loaded = attached(base, spec.lora)
    assert isinstance(choose_route(Job(spec, loaded, None, None, 1)), FastPath) == trains


def test_a_mistral_with_kinds_of_layers_is_planned_as_what_transformers_loads(tmp_path):
    values = SIZES | {"model_type": "mistral", "layer_types": ["full_attention"] * 2}
    (tmp_path / "config.json").write_text(json.dumps(values))
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert "ministral" in str(decoding_refusal(BaseTraits.of(values)))
    assert decoding_refusal(BaseTraits.of(loaded.to_dict())) is not None
    assert planned(values, RunSpec(quant=QuantSpec(scheme="none"))) == "plain"


def test_a_head_that_is_trained_beside_its_tied_embedding_is_refused():
    from peft import LoraConfig, get_peft_model

    from medtune.accel.train import enable

    for lora, reason in (
        ({"target_modules": ["q_proj", "lm_head"]}, "its adapter changes lm_head"),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, "further trained modules"),
        ({"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [3]}}, "further trained modules"),
    ):
        base = build(SIZES | {"model_type": "mistral", "tie_word_embeddings": True})
        with warnings.catch_warnings(action="ignore"):  # peft warns of what is refused here
            model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **lora))
        assert reason in str(enable(model))
