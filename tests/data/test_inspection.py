"""A base is refused before its weights are loaded, by the check that is there for what is wrong with it."""

import json
import shutil
import time

import pytest
import torch
from broken_bases import CASES, config, make_base, replaced, weights

from medtune import RunSpec
from medtune.data.base.inspection import CHECKS, QUICK_CHECKS, inspect_base
from medtune.errors import BaseDamagedError, BaseUnsuitedError, MedtuneError
from medtune.testing.tiny import tiny_base

KINDS = {
    "plain": {},
    "sharded": {"shard": "20KB"},
    "bf16": {"dtype": torch.bfloat16},
    "fp16": {"dtype": torch.float16},
    "tied": {"tie_word_embeddings": True},
    "llama": {"model_type": "llama", "attention_bias": True},
    "qwen2": {"model_type": "qwen2", "vocab_size": 300},  # its tokenizer adds an end of text
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "gpt_neox": {"model_type": "gpt_neox"},
    "bloom": {"model_type": "bloom", "n_layer": 2, "n_head": 4},
    "mixtral": {"model_type": "mixtral", "num_local_experts": 4},
    "gemma2": {"model_type": "gemma2", "head_dim": 8},
    "mamba": {"model_type": "mamba", "state_size": 4},
    "bert": {"model_type": "bert"},
    "bart": {"model_type": "bart", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48},
    "t5": {"model_type": "t5", "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
}


IMPOSSIBLE = [name for name in CASES if "million" in name or "10^" in name or "beyond any" in name]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("tiny")).tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    """Return what makes a base of a kind, once."""
    made = {}

    def get(kind):
        if kind not in made:
            made[kind] = make_base(tmp_path_factory.mktemp(kind) / "base", tokenizer, **KINDS[kind])
        return made[kind]

    return get


def spec_of(folder, **parts):
    model = {"path": str(folder), **parts.pop("model", {})}
    return RunSpec.model_validate({"model": model, "quant": {"scheme": "none"}, **parts})


@pytest.mark.parametrize("name", CASES)
def test_a_broken_base_is_refused_by_the_check_meant_for_it(base, name, tmp_path):
    kind, check, damage, parts = CASES[name]
    folder = shutil.copytree(base(kind), tmp_path / "base")
    spec = spec_of(folder, **parts)
    damage(folder)
    with pytest.raises((BaseDamagedError, BaseUnsuitedError)) as refused:
        inspect_base(spec, loading=True)
    assert refused.value.check == check
    assert refused.value.exit_code in (2, 4)
    assert str(refused.value).startswith(f"the base '{folder}' ")
    assert "\n" not in str(refused.value)
    if name in IMPOSSIBLE:
        return  # without the check it would be built, for hours
    # without that check the base is not refused by it, so that it is this check that sees the fault
    others = [other for other in CHECKS if other.name != check]
    try:
        inspect_base(spec, loading=True, checks=others)
    except MedtuneError as other:
        assert getattr(other, "check", None) != check


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_sizes_are_refused_at_once_by_check_alone(base, name, tmp_path):
    kind, _check, damage, parts = CASES[name]
    folder = shutil.copytree(base(kind), tmp_path / "base")
    damage(folder)
    began = time.monotonic()
    with pytest.raises(BaseDamagedError, match="more than any model has"):
        inspect_base(spec_of(folder, **parts), checks=QUICK_CHECKS)
    assert time.monotonic() - began < 2


def test_every_check_has_a_case():
    assert {check for _base, check, _damage, _parts in CASES.values()} == {check.name for check in CHECKS}
    assert len(CASES) >= 35


def harmless(folder):
    weights(folder, replaced("value_head.summary", lambda _t: torch.ones(3)))


def with_masks(folder):
    weights(folder, replaced("h.0.attn.bias", lambda _t: torch.ones(1, 1, 8, 8, dtype=torch.uint8)))


def with_code(folder):
    config(folder, auto_map={"AutoModelForCausalLM": "modeling.Own"})


def in_the_cache(folder):
    """Lay the folder out as the hub's cache does: links from a snapshot to blobs."""
    home = folder.parent / "models--org--name"
    (home / "blobs").mkdir(parents=True)
    snapshot = home / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copy(file, home / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    return snapshot


def one_blank_matrix(folder):
    weights(folder, replaced("model.layers.0.mlp.up_proj.weight", torch.zeros_like))


def float64(folder):
    weights(folder, lambda tensors: {name: t.double() for name, t in tensors.items()})


def another_tokenizer(folder):
    """A tokenizer of fewer tokens than the embedding has rows."""
    file = folder / "tokenizer.json"
    values = json.loads(file.read_text())
    vocabulary = values["model"]["vocab"]
    values["model"]["vocab"] = {token: number for token, number in vocabulary.items() if number < 200}
    file.write_text(json.dumps(values))


GOOD = {
    # name: (base, change, parts of the spec, words of a note)
    "as it is": ("plain", None, {}, None),
    "in shards": ("sharded", None, {}, None),
    "in bf16": ("bf16", None, {}, None),
    "in fp16": ("fp16", None, {}, None),
    "with a matrix of zeros": ("plain", one_blank_matrix, {}, "1 matrices of 'model.safetensors' hold zeros only"),
    "in doubles": ("plain", float64, {}, None),
    "with a tied head": ("tied", None, {}, None),
    "with biases": ("llama", None, {}, None),
    "Qwen2": ("qwen2", None, {}, None),
    "Qwen3": ("qwen3", None, {}, None),
    "GPT-2, whose targets are no linear layers": ("gpt2", None, {"lora": {"target_modules": ["c_attn"]}}, None),
    "GPT-2 with its old masks": ("gpt2", with_masks, {}, None),
    "GPT-NeoX, which could be an encoder by its config": ("gpt_neox", None, {}, None),
    "Bloom, without sdpa": ("bloom", None, {}, "attention is eager"),
    "Gemma 2": ("gemma2", None, {}, None),
    "Mamba with layers that no kernel fuses": (
        "mamba",
        None,
        {"lora": {"target_modules": ["in_proj", "x_proj"]}},
        None,
    ),
    "experts out of reach": ("mixtral", None, {}, "the adapter reaches"),
    "further tensors": ("plain", harmless, {}, "value_head.summary"),
    "code that is not run": ("plain", with_code, {}, "auto_map"),
    "a tokenizer of fewer tokens": ("plain", another_tokenizer, {}, None),
    "rows as long as its positions": ("plain", None, {"train": {"max_length": 512}}, None),
    "in the hub's cache": ("sharded", in_the_cache, {}, None),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_base_is_accepted(base, name, tmp_path):
    kind, change, parts, note = GOOD[name]
    folder = shutil.copytree(base(kind), tmp_path / "base")
    folder = (change(folder) if change else None) or folder
    found = inspect_base(spec_of(folder, **parts), loading=True)
    assert found.checked == tuple(check.name for check in CHECKS)
    if note is None:
        assert found.notes == () or "attention is eager" in found.notes[0]
    else:
        assert note in " ".join(found.notes)


def test_targets_that_a_kernel_fuses_are_refused_with_those_that_work(base):
    with pytest.raises(BaseUnsuitedError, match=r"'out_proj' .* these work: dt_proj, in_proj, x_proj; name those"):
        inspect_base(spec_of(base("mamba")))
