"""Bases that would run code, reach out, grow, or are not what they say."""

import json
import os

import bombs
import numpy as np
from edits import all_of, as_json, edited, entry, header, length, linked, put, removed, renamed, tensors
from laboratory import Case

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UP = "model.layers.0.mlp.up_proj.weight"
DEEP = 100_000


def base(change, code, says, *, command="plan", **more):
    """Return a case that plans a run on a changed copy of the base."""

    def build(scene):
        folder = scene.copy("base")
        change(folder, scene)
        return [scene.spec(model={"path": str(folder)})]

    return Case(command, build, code, says, **more)


def quantized(**settings):
    return as_json("config.json", quantization_config=settings)


def indexed(shard):
    """Return what splits the weights by an index that names this file."""

    def change(folder, scene):
        name = shard(scene) if callable(shard) else shard
        (folder / WEIGHTS).rename(folder / "model-1.safetensors")
        (folder / INDEX).write_text(json.dumps({"weight_map": {UP: name, "lm_head.weight": "model-1.safetensors"}}))

    return change


def value_of(value):
    def edit(values):
        values[UP].flat[3] = value

    return edit


PICKLES = {
    "pytorch_model.bin": base(all_of(removed(WEIGHTS), put("pytorch_model.bin", bombs.torch_archive)), 2, "pickles only"),
    "pytorch_model.bin beside": base(put("pytorch_model.bin", bombs.torch_archive), 0, "backends"),
    "pytorch_model.bin in shards": base(
        all_of(
            removed(WEIGHTS), put("pytorch_model-00001-of-00001.bin", bombs.pickled),
            put("pytorch_model.bin.index.json", '{"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}'),
        ), 2, "pickles only",
    ),
    "model.pt": base(all_of(removed(WEIGHTS), put("model.pt", bombs.pickled)), 2, "pickles only", command="train"),
    "model.ckpt": base(all_of(removed(WEIGHTS), put("model.ckpt", bombs.pickled)), 2, "pickles only", command="train"),
    "consolidated.pth": base(all_of(removed(WEIGHTS), put("consolidated.00.pth", bombs.pickled)), 2, "pickles only", command="train"),
    "pickle called safetensors": base(put(WEIGHTS, bombs.pickled), 4, "no safetensors file"),
    "torch archive called safetensors": base(put(WEIGHTS, bombs.torch_archive), 4, "no safetensors file"),
    "array of objects called safetensors": base(put(WEIGHTS, bombs.object_array), 4, "no safetensors file"),
    "TensorFlow's and Flax' files": base(
        all_of(removed(WEIGHTS), put("tf_model.h5", bombs.pickled), put("flax_model.msgpack", bombs.pickled)), 2, "no model.safetensors", command="train"
    ),
    "training_args.bin": base(put("training_args.bin", bombs.pickled), 0, "backends"),
    "generation settings as a pickle": base(put("generation_config.json", bombs.pickled), 4, "not UTF-8", command="train"),
}  # fmt: skip
CODE = {
    "auto_map": base(
        all_of(as_json("config.json", auto_map={"AutoModelForCausalLM": "own.Own", "AutoConfig": "own.Config"}), put("own.py", lambda s: s.code)),
        0, "auto_map",
    ),
    "auto_map of another repository": base(
        as_json("config.json", auto_map={"AutoConfig": "someone/evil--own.Config"}), 0, "auto_map"
    ),
    "auto_map and an unknown type": base(
        all_of(as_json("config.json", model_type="own", auto_map={"AutoConfig": "own.Config"}), put("own.py", lambda s: s.code)), 2, "own"
    ),
    "trust_remote_code": base(as_json("config.json", trust_remote_code=True), 0, "backends"),
    "custom_pipelines": base(as_json("config.json", custom_pipelines={"x": {"impl": "own.Own"}}), 0, "backends"),
    "custom_generate": base(
        all_of(put("custom_generate/generate.py", lambda s: s.code), put("generation_config.json", '{"custom_generate": "."}')), 0, "backends"
    ),
    "attention of a repository": base(as_json("config.json", attn_implementation="someone/kernel"), 4, "repository of code"),
    "attention of a repository, hidden": base(as_json("config.json", _attn_implementation="someone/kernel"), 4, "repository of code"),
    "attention of a repository, internal": base(
        as_json("config.json", _attn_implementation_internal="someone/kernel"), 4, "repository of code"
    ),
    "attention of a repository, by part": base(
        as_json("config.json", attn_implementation={"": "someone/kernel"}), 4, "repository of code"
    ),
    "experts of a repository": base(as_json("config.json", experts_implementation="someone/kernel"), 4, "repository of code"),
    "attention of a repository in a part": base(
        as_json("config.json", text_config={"attn_implementation": "someone/kernel"}), 4, "repository of code"
    ),
    "another repository's weights": base(as_json("config.json", _name_or_path="someone/evil"), 0, "backends"),
    "quantized by a path": base(quantized(quant_method="../evil.py"), 2, "quantized"),
    "quantized by code": base(quantized(quant_method="gptq", quantizer_class="os.system", modules_in_block_to_quantize=["a"]), 2, "quantized"),
    "quantized by a list": base(as_json("config.json", quantization_config=["os.system"]), 2, "quanti"),
    "an activation of a module": base(as_json("config.json", hidden_act="os.system"), 4, "no model can be built"),
    "a class of a module": base(as_json("config.json", architectures=["os.system"]), 0, "backends"),
    "a type of a module": base(as_json("config.json", model_type="os.system"), 2, "os.system"),
    "a dtype of a module": base(as_json("config.json", dtype="load", torch_dtype="hub"), 4, ""),
    "a dunder as a setting": base(as_json("config.json", __class__="x", __init__="y", to_dict="z"), 4, ""),
    "a sitecustomize beside": base(all_of(put("sitecustomize.py", lambda s: s.code), put("torch.py", lambda s: s.code)), 0, "backends"),
    "an adapter that names another base": base(
        put("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "../../../etc"}'), 2, "holds an adapter"
    ),
    "an adapter with a pickle": base(
        all_of(put("adapter_config.json", '{"peft_type": "LORA"}'), put("adapter_model.bin", bombs.pickled)), 2, "holds an adapter"
    ),
}  # fmt: skip
HEADERS = {
    "length of 2^63": base(length(WEIGHTS, 1 << 63), 4, "no whole header"),
    "length of 2^64 - 1": base(length(WEIGHTS, (1 << 64) - 1), 4, "no whole header"),
    "length of nothing": base(length(WEIGHTS, 0), 4, "no whole header"),
    "length beyond the file": base(length(WEIGHTS, 99_000_000), 4, "no whole header"),
    "offsets that overlap": base(entry(WEIGHTS, data_offsets=[0, 4], shape=[1], dtype="F32"), 4, "overlap|gaps|damaged"),
    "offsets below zero": base(entry(WEIGHTS, data_offsets=[-8, 0], shape=[2]), 4, "damaged"),
    "offsets the wrong way": base(entry(WEIGHTS, data_offsets=[64, 0]), 4, "damaged"),
    "offsets of 2^63": base(entry(WEIGHTS, data_offsets=[0, 1 << 63]), 4, "damaged"),
    "offsets as texts": base(entry(WEIGHTS, data_offsets=["0", "x"]), 4, "damaged"),
    "offsets as floats": base(entry(WEIGHTS, data_offsets=[0.5, 1e308]), 4, "damaged"),
    "offsets that are infinite": base(
        header(WEIGHTS, lambda v: json.dumps(v).replace('"data_offsets": [0,', '"data_offsets": [Infinity,', 1)), 4, "damaged"
    ),
    "a shape of 10^30": base(entry(WEIGHTS, shape=[10**30]), 4, "damaged"),
    "a shape of 10^9 lengths": base(entry(WEIGHTS, shape=[2] * 100_000), 4, "damaged"),
    "a shape of nothing": base(entry(WEIGHTS, shape=[0, 1 << 62], data_offsets=[0, 0]), 4, "gaps|damaged"),
    "a shape below zero": base(entry(WEIGHTS, shape=[-1, -1]), 4, "damaged"),
    "a shape nested deeply": base(header(WEIGHTS, lambda v: '{"a": {"dtype": "F32", "shape": ' + "[" * DEEP), 4, "damaged"),
    "a header nested deeply": base(header(WEIGHTS, lambda v: "[" * DEEP), 4, "damaged"),
    "a header that is a list": base(header(WEIGHTS, lambda v: [1, 2]), 4, "damaged"),
    "a header of NUL": base(header(WEIGHTS, lambda v: b"\0" * 64), 4, "damaged"),
    "a header of half a million tensors": base(
        header(WEIGHTS, lambda v: {f"a{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(500_000)}), 4, ""
    ),
    "a header of 60 MB": base(header(WEIGHTS, lambda v: b'{"__metadata__":{"a":"' + b"x" * (60 << 20) + b'"}}'), 4, ""),
    "a name that stands twice": base(header(WEIGHTS, lambda v: json.dumps(v)[:-1] + "," + json.dumps(v)[1:]), 4, "twice|damaged|no safetensors"),
    "a name of a path": base(header(WEIGHTS, lambda v: json.dumps(v).replace("lm_head.weight", "../../etc/passwd")), 4, ""),
    "a name with escapes": base(header(WEIGHTS, lambda v: json.dumps(v).replace("lm_head.weight", "\\u001b[31mx")), 4, ""),
    "a type that there is not": base(entry(WEIGHTS, dtype="os.system"), 4, "damaged"),
    "values as whole numbers": base(tensors(WEIGHTS, lambda t: t.update({UP: t[UP].astype(np.int32)})), 4, ""),
    "values of NaN": base(tensors(WEIGHTS, value_of(np.nan)), 4, "not finite"),
    "values that are infinite": base(tensors(WEIGHTS, value_of(np.inf)), 4, "not finite"),
    "a sparse file of 8 GiB": base(lambda f, _s: os.truncate(f / WEIGHTS, 8 << 30), 4, "bytes after the last tensor"),
}  # fmt: skip
PLACES = {
    "an index that leads up": base(indexed("../../../../etc/passwd"), 4, "outside of the folder"),
    "an index of an absolute path": base(indexed("/etc/passwd"), 4, "outside of the folder"),
    "an index of a URL": base(indexed(lambda s: f"{s.url}/model.safetensors"), 4, "lacks"),
    "an index of a pickle": base(all_of(indexed("evil.bin"), put("evil.bin", bombs.torch_archive)), 4, "no safetensors file"),
    "an index of an empty name": base(indexed(""), 4, ""),
    "an index of a name with NUL": base(indexed("a\0b"), 2, "NUL"),
    "an index of a folder": base(indexed("."), 4, ""),
    "an index nested deeply": base(all_of(renamed(WEIGHTS, "a.bin"), put(INDEX, "[" * DEEP)), 2, "nested|JSON"),
    "a link out of the folder": base(linked(WEIGHTS, None), 4, "link out of its folder"),
    "a link to a device": base(linked(WEIGHTS, "/dev/zero"), 4, "link out of its folder"),
    "a link to itself": base(linked(WEIGHTS, WEIGHTS), 4, ""),
    "a FIFO of weights": base(lambda f, _s: ((f / WEIGHTS).unlink(), os.mkfifo(f / WEIGHTS)), 2, "no model.safetensors"),
    "a FIFO of settings": base(lambda f, _s: ((f / "config.json").unlink(), os.mkfifo(f / "config.json")), 2, "no config.json"),
    "settings from a device": base(linked("config.json", "/dev/zero"), 2, "no config.json"),
    "settings from elsewhere": base(linked("config.json", "/etc/passwd"), 4, "JSON"),
    "a base that is a file": base(lambda f, s: (f.rename(s.folder / "b"), f.write_text("x")), 2, "no folder"),
}  # fmt: skip
SETTINGS = {
    "nested deeply": base(put("config.json", "[" * DEEP), 4, "nested"),
    "a key twice": base(put("config.json", '{"model_type": "mistral", "model_type": "own"}'), 4, ""),
    "a half gigabyte": base(lambda f, _s: os.truncate(f / "config.json", 512 << 20), 4, ""),
    "10^9 layers": base(as_json("config.json", num_hidden_layers=10**9), 4, "more than any model has"),
    "10^18 tokens": base(as_json("config.json", vocab_size=10**18), 4, "more than any model has"),
    "a width of 10^12": base(as_json("config.json", hidden_size=10**12), 4, "more than any model has"),
    "no heads": base(as_json("config.json", num_attention_heads=0), 4, "no whole number above zero"),
    "heads below zero": base(as_json("config.json", num_key_value_heads=-4), 4, "no whole number above zero"),
    "sizes as texts": base(as_json("config.json", hidden_size="64; import os"), 4, "no whole number above zero"),
    "sizes that are infinite": base(edited("config.json", lambda c: c.update(hidden_size=float("inf"))), 4, "no whole number above zero"),
    "a rope of NaN": base(edited("config.json", lambda c: c.update(rope_parameters={"rope_theta": float("nan"), "rope_type": "default"})), 4, "", command="train"),
    "a rope of an unknown type": base(as_json("config.json", rope_parameters={"rope_type": "__import__", "rope_theta": 1.0}), 4, ""),
    "an epsilon as a text": base(as_json("config.json", rms_norm_eps="1e-6"), 4, ""),
    "layer types of another shape": base(as_json("config.json", layer_types=[{"a": 1}]), 4, ""),
    "labels in millions": base(as_json("config.json", id2label={str(n): "x" for n in range(300_000)}, num_labels=300_000), 4, "larger than"),
    "a type of markup": base(as_json("config.json", model_type="[bold]x[/bold]<script>"), 2, r"\[bold\]x"),
}  # fmt: skip
CASES = {
    "bases: pickles": PICKLES,
    "bases: code": CODE,
    "bases: headers": HEADERS,
    "bases: places": PLACES,
    "bases: settings": SETTINGS,
}
