"""Tiny bases and what can be wrong with them: each case breaks a copy of a whole base in one way."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file

SIZES = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


def make_base(folder, tokenizer, model_type="mistral", dtype=torch.float32, shard="1GB", **changes):
    """Save a random base of a family, with the tokenizer of bytes."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = AutoConfig.for_model(model_type, **{**SIZES, **changes})
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind.from_config(config, dtype=dtype).save_pretrained(folder, max_shard_size=shard)
    tokenizer.save_pretrained(folder)
    return folder


def config(folder, *without, **changes):
    file = folder / "config.json"
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if key not in without}))


def weights(folder, change):
    """Rewrite the one file of weights; ``change`` takes and returns the tensors by name."""
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def without(*names):
    return lambda tensors: {name: t for name, t in tensors.items() if name not in names}


def renamed(old, new):
    return lambda tensors: {new if name == old else name: t for name, t in tensors.items()}


def replaced(name, make):
    return lambda tensors: {**tensors, name: make(tensors.get(name))}


def poisoned(name, value, place=-1):
    def change(tensors):
        tensors[name].view(-1)[place] = value
        return tensors

    return change


def header(folder, change):
    """Rewrite the header of the file of weights as text, its bytes as they are."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = change(content[8 : 8 + length])
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


def cut(folder, name="model.safetensors", keep=0.6):
    file = folder / name
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])


def lengthened(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes() + b"\0" * 9)


def index(folder, change):
    file = folder / "model.safetensors.index.json"
    values = json.loads(file.read_text())
    change(values["weight_map"])
    file.write_text(json.dumps(values))


def first_shard(folder):
    return min(folder.glob("model-*.safetensors"))


def linked_out(folder):
    shard = first_shard(folder)
    outside = folder.parent / f"{folder.name}-outside.safetensors"
    shutil.move(shard, outside)
    shard.symlink_to(outside)


def named_outside(folder):
    shutil.move(first_shard(folder), folder.parent / "stray.safetensors")
    index(folder, lambda held: held.update({name: "../stray.safetensors" for name in held if "00001" in held[name]}))


def tokenizer_with(folder, *tokens, pad=None):
    """Give the tokenizer further tokens, whose ids lie beyond the 258 rows of the embedding."""
    file, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    values, config = json.loads(file.read_text()), json.loads(settings.read_text())
    for number, token in enumerate(tokens):
        entry = {"id": 258 + number, "content": token, "special": True, "normalized": False}
        values["added_tokens"].append({**entry, "single_word": False, "lstrip": False, "rstrip": False})
    if pad:
        config["pad_token"] = pad
    file.write_text(json.dumps(values))
    settings.write_text(json.dumps(config))


def as_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def as_adapter(folder, *, alone=True):
    values = {"base_model_name_or_path": "org/true-base", "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    if alone:
        (folder / "config.json").unlink()


def zeros_only(folder):
    weights(folder, lambda tensors: {name: torch.zeros_like(t) for name, t in tensors.items()})


def filled(folder, value):
    weights(folder, lambda tensors: {name: torch.full_like(t, value) for name, t in tensors.items()})


def half_written(folder):
    """The bytes of a file whose space was reserved, of which a half came."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


UP = "model.layers.1.mlp.up_proj.weight"
Q = "model.layers.0.self_attn.q_proj"

CASES = {
    # name: (base, check that refuses it, what breaks the folder, parts of the spec)
    "a file in the place of the folder": ("plain", "place", lambda f: (shutil.rmtree(f), f.write_text("")), {}),
    "a folder that is not there": ("plain", "place", shutil.rmtree, {}),
    "an adapter alone": ("plain", "adapter", as_adapter, {}),
    "an adapter beside a base": ("plain", "adapter", lambda f: as_adapter(f, alone=False), {}),
    "no config.json": ("plain", "presence", lambda f: (f / "config.json").unlink(), {}),
    "an empty folder": ("plain", "presence", lambda f: (shutil.rmtree(f), f.mkdir()), {}),
    "a config that is not JSON": ("plain", "config", lambda f: (f / "config.json").write_text("{"), {}),
    "a config that is a list": ("plain", "config", lambda f: (f / "config.json").write_text("[1]"), {}),
    "a config that is not text": ("plain", "config", lambda f: (f / "config.json").write_bytes(b"\xff\xfe{}"), {}),
    "a config without a type": ("plain", "config", lambda f: config(f, "model_type"), {}),
    "a config whose type is a number": ("plain", "config", lambda f: config(f, model_type=3), {}),
    "kernels from a repository": ("plain", "code", lambda f: config(f, _attn_implementation="org/kernels"), {}),
    "heads that do not divide": ("plain", "config values", lambda f: config(f, "head_dim", num_attention_heads=3), {}),
    "key heads that do not divide": ("plain", "config values", lambda f: config(f, num_key_value_heads=3), {}),
    "a dropout as text": ("plain", "config values", lambda f: config(f, attention_dropout="0.1"), {}),
    "a hidden size as text": ("plain", "config values", lambda f: config(f, hidden_size="32"), {}),
    "no layers": ("plain", "config values", lambda f: config(f, num_hidden_layers=0), {}),
    "a hundred million layers": ("plain", "config values", lambda f: config(f, num_hidden_layers=100_000_000), {}),
    "a hundred million layers, without weights": (
        "plain",
        "config values",
        lambda f: (config(f, num_hidden_layers=10**8), (f / "model.safetensors").unlink()),
        {},
    ),
    "more layers than tensors": ("plain", "config values", lambda f: config(f, num_hidden_layers=90), {}),
    "a vocabulary of 10^12": ("plain", "config values", lambda f: config(f, vocab_size=10**12), {}),
    "a width of 10^9": ("plain", "config values", lambda f: config(f, hidden_size=10**9), {}),
    "a width below zero": ("plain", "config values", lambda f: config(f, intermediate_size=-48), {}),
    "layers as a fraction": ("plain", "config values", lambda f: config(f, num_hidden_layers=2.5), {}),
    "sizes of GPT-2 beyond any model": ("gpt2", "config values", lambda f: config(f, n_layer=10**7), {}),
    "sizes inside a part": ("plain", "config values", lambda f: config(f, text_config={"num_layers": 10**9}), {}),
    "too many experts": ("mixtral", "config values", lambda f: config(f, num_local_experts=10**8), {}),
    "positions beyond any model": ("plain", "config values", lambda f: config(f, max_position_embeddings=10**15), {}),
    "too few layer types": ("qwen2", "config values", lambda f: config(f, layer_types=["full_attention"]), {}),
    "sliding layers that are switched off": (
        "qwen2",
        "architecture",
        lambda f: config(f, layer_types=["full_attention", "sliding_attention"], use_sliding_window="no"),
        {},
    ),
    "an unknown type": ("plain", "family", lambda f: config(f, model_type="mystery"), {}),
    "an encoder": ("bert", "decoder", lambda f: None, {}),
    "an encoder with a decoder that has a language model": ("bart", "decoder", lambda f: None, {}),
    "an encoder with a decoder": ("t5", "family", lambda f: None, {}),
    "a type without a language model": ("plain", "family", lambda f: config(f, model_type="vit"), {}),
    "an activation that there is not": ("plain", "architecture", lambda f: config(f, hidden_act="swoosh"), {}),
    "quantized by another library": (
        "plain",
        "quantized",
        lambda f: config(f, quantization_config={"quant_method": "gptq", "bits": 4}),
        {},
    ),
    "quantized in another scheme": (
        "plain",
        "quantized",
        lambda f: config(f, quantization_config={"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}),
        {"quant": {"scheme": "none"}},
    ),
    "rows longer than its positions": ("plain", "positions", lambda f: None, {"train": {"max_length": 1024}}),
    "sdpa where there is none": ("bloom", "attention", lambda f: None, {"model": {"attn_implementation": "sdpa"}}),
    "a target that there is not": ("plain", "targets", lambda f: None, {"lora": {"target_modules": ["w_proj"]}}),
    "a layer that a fused kernel computes": ("mamba", "targets", lambda f: None, {}),
    "transposed weights where peft does not mind": ("gpt2", "targets", lambda f: None, {"lora": {"init": "olora"}}),
    "dropout on experts": (
        "mixtral",
        "experts",
        lambda f: None,
        {"lora": {"target_modules": ["q_proj", "gate_up_proj"], "dropout": 0.1}},
    ),
    "no weights": ("plain", "weight files", lambda f: (f / "model.safetensors").unlink(), {}),
    "weights as a pickle": ("plain", "weight files", as_pickle, {}),
    "a link out of the folder": ("sharded", "inside", linked_out, {}),
    "an index that leads out of the folder": ("sharded", "inside", named_outside, {}),
    "a shard that is not there": ("sharded", "complete", lambda f: first_shard(f).unlink(), {}),
    "a shard that is cut short": ("sharded", "complete", lambda f: cut(f, first_shard(f).name), {}),
    "weights that are cut short": ("plain", "complete", cut, {}),
    "weights with something behind them": ("plain", "complete", lengthened, {}),
    "an empty file of weights": ("plain", "complete", lambda f: (f / "model.safetensors").write_bytes(b""), {}),
    "a pointer to weights": (
        "plain",
        "complete",
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        {},
    ),
    "a header that is not JSON": ("plain", "complete", lambda f: header(f, lambda t: b"x" + t[1:]), {}),
    "a header of another shape": (
        "plain",
        "complete",
        lambda f: header(f, lambda t: t.replace(b"[64,32]", b"[65,32]").replace(b"[48,32]", b"[49,32]")),
        {},
    ),
    "an index of other tensors": ("sharded", "complete", lambda f: index(f, lambda m: m.update(x=min(m.values()))), {}),
    "an index without a map": (
        "sharded",
        "weight files",
        lambda f: (f / "model.safetensors.index.json").write_text("{}"),
        {},
    ),
    "whole numbers as weights": (
        "plain",
        "types",
        lambda f: weights(f, replaced(UP, lambda t: t.mul(100).to(torch.int64))),
        {},
    ),
    "bytes as a norm": ("plain", "types", lambda f: weights(f, replaced("model.norm.weight", lambda t: t.byte())), {}),
    "fp8 without scales": (
        "plain",
        "types",
        lambda f: weights(f, replaced(UP, lambda t: t.to(torch.float8_e4m3fn))),
        {},
    ),
    "a tensor that is missing": ("plain", "tensors", lambda f: weights(f, without(UP)), {}),
    "a whole layer that is missing": ("plain", "tensors", lambda f: config(f, num_hidden_layers=3), {}),
    "a tensor under another name": (
        "plain",
        "tensors",
        lambda f: weights(f, renamed(UP, UP.replace("up_", "upper_"))),
        {},
    ),
    "a head that is missing": ("plain", "tensors", lambda f: weights(f, without("lm_head.weight")), {}),
    "a classifier's head": (
        "plain",
        "tensors",
        lambda f: weights(f, renamed("lm_head.weight", "score.weight")),
        {},
    ),
    "an expert that is missing": (
        "mixtral",
        "shapes",
        lambda f: weights(f, without("model.layers.0.block_sparse_moe.experts.2.w2.weight")),
        {},
    ),
    "a vocabulary unlike the weights": ("plain", "shapes", lambda f: config(f, vocab_size=300), {}),
    "a norm that is too short": (
        "plain",
        "shapes",
        lambda f: weights(f, replaced("model.norm.weight", lambda t: t[:-1].clone())),
        {},
    ),
    "another width": ("plain", "shapes", lambda f: config(f, intermediate_size=64), {}),
    "a bias that the config leaves out": (
        "plain",
        "unused",
        lambda f: weights(f, replaced(f"{Q}.bias", lambda _t: torch.ones(32))),
        {},
    ),
    "a layer that the config leaves out": ("plain", "unused", lambda f: config(f, num_hidden_layers=1), {}),
    "an adapter among the weights": (
        "plain",
        "unused",
        lambda f: weights(f, replaced(f"{Q}.lora_A.weight", lambda _t: torch.ones(4, 32))),
        {},
    ),
    "a value that is NaN": ("plain", "finite", lambda f: weights(f, poisoned(UP, torch.nan)), {}),
    "a value that is infinite": ("plain", "finite", lambda f: weights(f, poisoned(UP, -torch.inf, 7)), {}),
    "a value that is NaN in bf16": (
        "bf16",
        "finite",
        lambda f: weights(f, poisoned("model.norm.weight", torch.nan)),
        {},
    ),
    "a value that is infinite in fp16": ("fp16", "finite", lambda f: weights(f, poisoned(UP, torch.inf)), {}),
    "zeros only": ("plain", "zeros", zeros_only, {}),
    "zeros below zero": ("plain", "zeros", lambda f: filled(f, -0.0), {}),
    "one value throughout": ("plain", "zeros", lambda f: filled(f, 0.02), {}),
    "numbers too small to count": ("plain", "zeros", lambda f: filled(f, 1e-40), {}),
    "one value throughout in bf16": ("bf16", "zeros", lambda f: filled(f, 1.0), {}),
    "weights that end half way": ("plain", "zeros", half_written, {}),
    "no tokenizer": ("plain", "tokenizer", lambda f: [file.unlink() for file in f.glob("token*")], {}),
    "a tokenizer that is not JSON": ("plain", "tokenizer", lambda f: (f / "tokenizer.json").write_text("{"), {}),
    "a tokenizer with nothing to pad with": (
        "plain",
        "tokenizer",
        lambda f: (f / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<pad>"})
        ),
        {},
    ),
    "a pad token beyond the embedding": ("plain", "padding", lambda f: tokenizer_with(f, "[PAD]", pad="[PAD]"), {}),
    "more tokens than rows": ("plain", "vocabulary", lambda f: tokenizer_with(f, "<a>", "<b>"), {}),
}
