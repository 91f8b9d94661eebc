"""The adapter is attached in fp32, saved in peft's own form, and mistakes in its spec are caught before training."""

import json
import re
from dataclasses import replace
from typing import get_args

import adapter_table as table
import pytest
import torch

import families
from medtune import LoraSpec, ModelSpec, QuantSpec, RunSpec
from medtune.backends.bitsandbytes import BitsAndBytesQuantizer
from medtune.backends.peft import PeftAdapter
from medtune.errors import PluginError, SpecError
from medtune.machine.libraries import quiet_libraries
from medtune.planning.required import require_backends
from medtune.plugins.contracts import Loaded
from medtune.plugins.host import create_host
from medtune.testing.tiny import tiny_base

IDS = torch.arange(2, 22)[None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


def base_of(folder, scheme="none"):
    with quiet_libraries():
        return tiny_base(folder, scheme)


def attach(folder, spec, scheme="none"):
    torch.manual_seed(3)
    return PeftAdapter().attach(base_of(folder, scheme), spec)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def perturb(model):
    """Move every trainable value, as training would."""
    torch.manual_seed(4)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)


@pytest.mark.parametrize("scheme", ["none", "nf4"])
def test_the_adapter_is_fp32_and_all_else_is_frozen(folder, scheme):
    model = attach(folder, LoraSpec(), scheme).model
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_a_fresh_adapter_changes_nothing(folder):
    before = logits(base_of(folder).model)
    assert torch.equal(before, logits(attach(folder, LoraSpec(dropout=0)).model))


def test_all_linear_leaves_out_the_head(folder):
    names = {n for n, p in attach(folder, LoraSpec()).model.named_parameters() if p.requires_grad}
    found = {part for name in names for part in name.split(".") if part.endswith("_proj")}
    assert found == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert not any("lm_head" in name for name in names)


def test_only_the_named_modules_get_an_adapter(folder):
    model = attach(folder, LoraSpec(target_modules=("q_proj", "v_proj"))).model
    found = {part for n, p in model.named_parameters() if p.requires_grad for part in n.split(".") if "_proj" in part}
    assert found == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("target", "nearest"), [("query_proj", "q_proj"), ("gate", "gate_proj"), ("lm_head", "it has: down_proj")]
)
def test_a_target_that_is_no_linear_layer_is_answered_with_the_nearest(folder, target, nearest):
    with pytest.raises(SpecError, match=f"'{target}' is no linear layer") as caught:
        attach(folder, LoraSpec(target_modules=("q_proj", target)))
    assert nearest in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        LoraSpec(dropout=0),
        LoraSpec(dropout=0, use_rslora=True),
        LoraSpec(dropout=0, use_dora=True),
        LoraSpec(dropout=0, init="pissa"),
        LoraSpec(dropout=0, init="olora"),
        LoraSpec(dropout=0, init="orthogonal"),
        LoraSpec(dropout=0, init="gaussian"),
    ],
    ids=lambda s: s.init + ("+rslora" if s.use_rslora else "") + ("+dora" if s.use_dora else ""),
)
def test_a_saved_adapter_gives_the_same_answers_on_the_unchanged_base(folder, tmp_path, spec):
    from peft import PeftModel

    trained = attach(folder, spec)
    perturb(trained.model)
    trained.save_adapter(tmp_path / "adapter")
    with quiet_libraries():
        plain = PeftModel.from_pretrained(base_of(folder).model, tmp_path / "adapter")
    torch.testing.assert_close(logits(plain), logits(trained.model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(plain), logits(base_of(folder).model), atol=1e-3)


def test_loading_replaces_the_fresh_adapter(folder, tmp_path):
    trained = attach(folder, LoraSpec(dropout=0))
    perturb(trained.model)
    trained.save_adapter(tmp_path / "adapter")
    fresh = attach(folder, LoraSpec())
    fresh.load_adapter(tmp_path / "adapter")
    torch.testing.assert_close(logits(fresh.model), logits(trained.model))
    with fresh.base_only():
        torch.testing.assert_close(logits(fresh.model), logits(base_of(folder).model))


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_initialisation_that_changes_the_base_is_refused_on_a_quantized_one(folder, init):
    with pytest.raises(SpecError, match=f"lora.init '{init}' changes the base's weights, which scheme 'nf4'"):
        attach(folder, LoraSpec(init=init), "nf4")


def test_loftq_is_refused_on_an_unquantized_base(folder):
    with pytest.raises(SpecError, match="'loftq' corrects 4-bit rounding"):
        attach(folder, LoraSpec(init="loftq"))


def test_loftq_is_refused_on_a_cpu(folder):
    with pytest.raises(SpecError, match="'loftq' needs a CUDA GPU"):
        attach(folder, LoraSpec(init="loftq"), "nf4")


def test_the_description_of_the_initialisation_names_the_schemes_that_the_code_takes():
    said = " ".join(LoraSpec.model_json_schema()["properties"]["init"]["description"].split())
    needs = {
        name: set(re.findall(r'"(\w+)"', schemes))
        for names, schemes in re.findall(r'((?:"\w+"(?: and )?)+) needs? scheme ((?:"\w+"(?: or )?)+)', said)
        for name in re.findall(r'"(\w+)"', names)
    }
    assert len(needs) == 4
    for init in get_args(LoraSpec.model_fields["init"].annotation):
        taken = set()
        for scheme in ("nf4", "fp4", "int8", "fp8", "none"):
            try:
                PeftAdapter().check(LoraSpec(init=init), scheme, "cuda:0")
            except SpecError:
                continue
            taken.add(scheme)
        assert taken == needs.get(init, {"nf4", "fp4", "int8", "fp8", "none"}), init


@pytest.mark.parametrize("init", ["default", "olora"])
def test_the_configuration_beside_the_weights_is_written_in_order(folder, tmp_path, init):
    attach(folder, LoraSpec(init=init)).save_adapter(tmp_path)
    text = (tmp_path / "adapter_config.json").read_text("utf-8")
    values = json.loads(text)
    assert text == json.dumps(values, indent=2, sort_keys=True)
    assert len(values["target_modules"]) == 14
    assert values["target_modules"] == sorted(values["target_modules"])


def test_an_adapter_that_was_loaded_is_saved_with_the_same_bytes_in_the_same_place(folder, tmp_path):
    attach(folder, LoraSpec()).save_adapter(tmp_path / "first")
    loaded = attach(folder, LoraSpec())
    loaded.load_adapter(tmp_path / "first")
    loaded.save_adapter(tmp_path / "second")
    assert not [path for path in (tmp_path / "second").iterdir() if path.is_dir()]
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_the_same_seed_gives_the_same_adapter(folder):
    first, second = (attach(folder, LoraSpec()).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    return table.make_base(tmp_path_factory.mktemp("biased") / "base")


def attach_biased(biased, spec, dtype="fp32", scheme="none"):
    torch.manual_seed(3)
    quant = QuantSpec(scheme=scheme, compute_dtype=dtype)
    return PeftAdapter().attach(BitsAndBytesQuantizer().load(ModelSpec(path=str(biased)), quant), spec)


@pytest.mark.parametrize(
    "spec",
    [LoraSpec(init="pissa"), LoraSpec(init="olora"), LoraSpec(bias="all"), LoraSpec(bias="lora_only", use_dora=True)],
    ids=lambda s: f"{s.init}-{s.bias}",
)
def test_the_base_answers_as_itself_whatever_the_adapter_changed_of_it(biased, spec, recwarn):
    alone = logits(table.base_of(biased, "none").model)
    made = attach_biased(biased, spec)
    perturb(made.model)
    tuned = logits(made.model.eval())
    for _ in range(2):
        with made.base_only():
            assert torch.equal(logits(made.model), alone)
        assert torch.equal(logits(made.model), tuned)
    assert not torch.allclose(tuned, alone, atol=1e-3)
    assert [str(w.message) for w in recwarn if "disabling" in str(w.message)] == []


@pytest.mark.parametrize(
    "spec",
    [LoraSpec(init="pissa"), LoraSpec(bias="all"), LoraSpec(bias="lora_only", use_dora=True)],
    ids=lambda s: f"{s.init}-{s.bias}",
)
def test_a_saved_adapter_takes_the_place_of_the_trained_one_and_is_saved_again_as_it_was(biased, tmp_path, spec):
    alone = logits(table.base_of(biased, "none").model)
    made = attach_biased(biased, spec)
    perturb(made.model)
    made.save_adapter(tmp_path / "first")
    trained = logits(made.model.eval())
    made.load_adapter(tmp_path / "first")
    torch.testing.assert_close(logits(made.model), trained, rtol=1e-5, atol=1e-6)
    with made.base_only():
        assert torch.equal(logits(made.model), alone)
    made.save_adapter(tmp_path / "second")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "scheme", "device", "said"),
    [
        ({"init": "pissa", "use_dora": True}, "none", None, "DoRA's magnitudes"),
        ({"init": "olora", "use_dora": True}, "none", None, "DoRA's magnitudes"),
        ({"init": "pissa", "bias": "all"}, "none", None, "leaves trained biases out"),
        ({"init": "olora", "bias": "lora_only"}, "none", None, "leaves trained biases out"),
        ({"init": "loftq", "use_dora": True}, "auto", None, "rounded base"),
        ({"init": "orthogonal", "r": 7}, "none", None, "even ranks only, and lora.r is 7; use 8"),
        ({"init": "orthogonal"}, "nf4", None, "stores as integers"),
        ({"init": "orthogonal"}, "fp8", None, "stores as integers"),
        ({"use_dora": True}, "fp8", None, "norms of the base's weights"),
        ({"use_dora": True}, "int8", "cpu", "needs a CUDA GPU"),
        ({"init": "loftq"}, "nf4", "cpu", "needs a CUDA GPU"),
    ],
)
def test_what_cannot_be_saved_right_is_refused_by_check_and_by_plan(settings, scheme, device, said):
    spec = RunSpec(lora=LoraSpec(**settings), quant=QuantSpec(scheme=scheme))
    with pytest.raises(SpecError, match=said):
        require_backends(spec, create_host(autoload=False), device)
    if device is not None:
        require_backends(spec, create_host(autoload=False), "cuda")
    elif scheme not in ("none", "auto"):
        require_backends(spec.model_copy_with(quant={"scheme": "auto"}), create_host(autoload=False))


def test_more_directions_than_a_weight_has_are_refused(folder):
    with pytest.raises(SpecError, match=r"lora\.r=33 directions .* has 32"):
        attach(folder, LoraSpec(init="pissa", r=33))


def test_biases_that_the_layers_cannot_add_are_refused_and_those_that_they_can_are_not(biased):
    with pytest.raises(SpecError, match=r"trained in fp32, which layers of this base in bf16 .* cannot add"):
        attach_biased(biased, LoraSpec(bias="all"), "bf16")
    assert attach_biased(biased, LoraSpec(bias="lora_only"), "bf16", "nf4").model is not None


def test_a_mixture_of_experts_gets_an_adapter_on_its_layers_and_on_nothing_else(tmp_path):
    families.job_of("mixtral").loaded.save_adapter(tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert {name.rpartition(".")[2] for name in values["target_modules"]} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    for key in ("target_parameters", "rank_pattern", "alpha_pattern", "exclude_modules"):
        assert not values.get(key), key
    with pytest.raises(SpecError, match="names experts"):
        families.attach(families.build_base("mixtral"), target_modules=["q_proj", "gate_up_proj"])


def test_a_tuned_model_never_passes_for_its_base():
    with pytest.raises(PluginError, match="does not say how the base answers"):
        Loaded(None, None, "cpu", "fp32", ()).base_only()


@pytest.mark.parametrize(
    ("model", "origin"),
    [
        (ModelSpec(), ("berkeley-nest/Starling-LM-7B-alpha", ModelSpec().revision)),
        (ModelSpec(name="org/base", revision="abc"), ("org/base", "abc")),
        (ModelSpec(name="org/base", revision="abc", path="/data/base"), ("org/base", "abc")),
        (ModelSpec(path="/data/base"), ("/data/base", None)),
        (ModelSpec(name="/data/base", path="/data/base"), ("/data/base", None)),
        (
            ModelSpec(path=f"/data/hub/models--org--some--base/snapshots/{'a1' * 20}"),
            ("org/some--base", "a1" * 20),
        ),
    ],
)
def test_the_base_is_named_by_repository_and_commit_where_they_are_known(folder, tmp_path, model, origin):
    torch.manual_seed(3)
    PeftAdapter().attach(replace(base_of(folder), base=model), LoraSpec()).save_adapter(tmp_path)
    values = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (values["base_model_name_or_path"], values["revision"]) == origin
