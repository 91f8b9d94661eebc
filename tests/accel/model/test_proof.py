"""A model is taken by what its modules compute, not by their names; any surprise is a refusal with a reason."""

import pytest
import torch
import transformers
from tiny_models import build_model, config_of

from medtune.accel.decode.reading import survey
from medtune.accel.model import proof
from medtune.accel.model.reader import read_parts
from medtune.accel.model.unsupported import UnsupportedError
from medtune.accel.train import FastPath, Refusal, enable

FAMILIES = ("Mistral", "Llama", "Qwen2", "Qwen3")


def changed(module, forward):
    """Give a module a class derived from its own with another ``forward(module, original, ...)``."""
    kept = type(module).forward
    module.__class__ = type(
        type(module).__name__, (type(module),), {"forward": lambda self, *a, **k: forward(self, kept, *a, **k)}
    )


def twice(self, kept, *given, **named):
    found = kept(self, *given, **named)
    return (1.02 * found[0], *found[1:]) if isinstance(found, tuple) else 1.02 * found


def ungated(self, _kept, x):
    return self.down_proj(torch.nn.functional.gelu(self.gate_proj(x)) * self.up_proj(x))


def shifted(self, kept, x):
    return kept(self, x) + x * torch.rsqrt(x.square().mean(-1, keepdim=True))  # Gemma's weights are about 0


def unmasked(self, kept, *given, attention_mask=None, **named):
    return kept(self, *given, attention_mask=torch.zeros_like(attention_mask), **named)


def hasty(self, kept, x, position_ids):
    return kept(self, x, position_ids + 1)


def loud(self, kept, *given, **named):
    found = kept(self, *given, **named)
    found["logits"] = 30 * torch.tanh(found["logits"] / 30)
    return found


def wide(self, kept, *given, **named):
    found = kept(self, *given, **named)
    found["last_hidden_state"] = 2 * found["last_hidden_state"]
    return found


OTHERWISE = {
    "its MLP": (lambda m: m.model.layers[1].mlp, ungated),
    "its MLP ": (lambda m: m.model.layers[2].mlp, twice),
    "its attention": (lambda m: m.model.layers[1].self_attn, twice),
    "its attention ": (lambda m: m.model.layers[0].self_attn, unmasked),
    "the norm of its layers": (lambda m: m.model.layers[1].input_layernorm, shifted),
    "the norm before its MLPs": (lambda m: m.model.layers[0].post_attention_layernorm, twice),
    "its last norm": (lambda m: m.model.norm, twice),
    "its layer": (lambda m: m.model.layers[2], twice),
    "its rotary module": (lambda m: m.model.rotary_emb, hasty),
    "what surrounds its layers": (lambda m: m, loud),
    "what surrounds its layers ": (lambda m: m.model, wide),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", OTHERWISE)
def test_a_module_that_computes_something_else_is_refused_whatever_its_name(what, dtype):
    model, (place, forward) = build_model(dtype=dtype), OTHERWISE[what]
    base = model.get_base_model()
    if what.startswith("what"):
        base.lm_head.weight.data *= 30
    changed(place(base), forward)
    with pytest.raises(UnsupportedError, match=f"^{what.strip()} computes something else"):
        survey(model, dtype)
    assert f"off: {what.strip()} computes something else" in str(enable(model))


class FineTuned(transformers.MistralForCausalLM):
    """A class of one's own that changes no maths."""

    def describe(self):
        return "mine"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_class_of_ones_own_without_other_maths_is_taken(dtype):
    torch.manual_seed(0)
    mine = FineTuned(config_of("Mistral")).to(dtype)
    assert len(survey(mine, dtype).parts.layers) == 3
    model = build_model(dtype=dtype)
    model.get_base_model().__class__ = FineTuned
    for layer in model.get_base_model().model.layers:
        changed(layer.mlp, lambda self, kept, x: kept(self, x))
    assert isinstance(enable(model), FastPath)


def test_what_is_computed_otherwise_in_training_only_keeps_training_off_the_fast_path_alone():
    model = build_model()
    changed(
        model.get_base_model().model.layers[0].mlp,
        lambda self, kept, x: kept(self, x) + self.training * 0.1 * torch.rand_like(x),
    )
    assert "its MLP computes something else" in str(enable(model))
    assert survey(model, torch.float32).layers == 3


def state_of(model):
    flags = [(name, {k: v for k, v in vars(m).items() if k[0] != "_"}) for name, m in model.named_modules()]
    return flags, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_proof_leaves_nothing_behind_and_runs_once_per_model(family, monkeypatch):
    model = build_model(family, lora={"lora_dropout": 0.5})
    parts = read_parts(model.get_base_model())
    torch.manual_seed(3)
    before, draws = state_of(model), torch.random.get_rng_state()
    proof.prove(parts, training=True)
    after = state_of(model)
    assert after[0] == before[0]
    assert all(torch.equal(after[1][name], value) for name, value in before[1].items())
    assert torch.equal(torch.random.get_rng_state(), draws)
    runs = []
    monkeypatch.setattr(proof, "_prove_all", lambda *_: runs.append(1))
    proof.prove(read_parts(model.get_base_model()), training=True)
    proof.prove(read_parts(model.get_base_model()), training=False)
    assert not runs
    proof.prove(read_parts(build_model(family).get_base_model()), training=True)
    assert len(runs) == 2  # of another model, in both modes


def without_a_norm(base):
    del base.model.norm


def with_another_shape(base):
    base.model.layers[1].mlp.up_proj = torch.nn.Linear(64, 80, bias=False)


def with_a_list_of_layers(base):
    base.model.layers[1] = torch.nn.Identity()


def with_a_string_for_a_number(base):
    base.model.layers[0].self_attn.scaling = "much"


def with_nan(base):
    base.model.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))


@pytest.mark.parametrize(
    "surprise",
    [without_a_norm, with_another_shape, with_a_list_of_layers, with_a_string_for_a_number, with_nan],
)
def test_any_surprise_is_a_refusal_with_a_reason(surprise):
    torch.manual_seed(0)
    base = transformers.MistralForCausalLM(config_of("Mistral"))
    surprise(base)
    with pytest.raises(UnsupportedError) as caught:
        survey(base, torch.float32)
    model = build_model(lora={"target_modules": ["q_proj"]})
    surprise(model.get_base_model())
    refusal = enable(model)
    assert isinstance(refusal, Refusal)
    assert "\n" not in str(refusal) + str(caught.value)


def test_too_little_memory_is_not_taken_for_a_model_that_is_not_known(monkeypatch):
    def full(*_given, **_named):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(proof, "_prove_all", full)
    with pytest.raises(torch.OutOfMemoryError):
        enable(build_model())


@pytest.mark.parametrize(
    "register", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_hooks_are_judged_by_one_rule(register):
    model = build_model()
    model.get_base_model().enable_input_require_grads()  # only marks the embedding's output
    assert survey(model, torch.float32).layers == 3
    assert isinstance(enable(model), FastPath)
    handle = getattr(model.get_base_model().model.layers[1].mlp, register)(lambda *_: None)
    reason = "a hook is registered on 'model.layers.1.mlp'"
    with pytest.raises(UnsupportedError, match=reason):
        survey(model, torch.float32)
    assert reason in str(enable(model))
    handle.remove()


def test_a_replaced_forward_is_refused_but_for_that_of_the_whole_model():
    model = build_model()
    base = model.get_base_model()
    base.forward = lambda **_: None  # as a trainer does
    assert isinstance(enable(model), FastPath)
    base.model.norm.forward = lambda x: x
    assert "the forward of 'model.norm' was replaced" in str(enable(model))
