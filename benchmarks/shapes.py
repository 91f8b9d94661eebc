"""The shapes of models that benchmarks give random weights: their config.json, by name or from a file.

``choose`` says which one this process makes; Starling's where nobody does.
"""

import json
from pathlib import Path

__all__ = ["SHAPES", "choose", "chosen", "config_of"]

_LLAMA = {"model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": False}


def _wide(hidden, layers, heads, kv_heads, mlp, vocabulary, **more):
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
        "max_position_embeddings": 8192,
    }
    return {**_LLAMA, **sizes, **more}


SHAPES = {
    "starling": _wide(4096, 32, 32, 8, 14336, 32002, model_type="mistral", sliding_window=None),
    "llama-3-8b": _wide(4096, 32, 32, 8, 14336, 128256),
    "qwen2.5-7b": _wide(3584, 28, 28, 4, 18944, 152064, model_type="qwen2", rms_norm_eps=1e-6),
    "llama-3.2-1b": _wide(2048, 16, 32, 8, 8192, 128256, head_dim=64, tie_word_embeddings=True),
    "smollm2-135m": _wide(576, 30, 9, 3, 1536, 49152, tie_word_embeddings=True),
    "gemma": _wide(
        2048, 18, 8, 1, 16384, 256000, model_type="gemma", head_dim=256, hidden_act="gelu_pytorch_tanh",
        rms_norm_eps=1e-6, tie_word_embeddings=True,
    ),
}  # fmt: skip
"""As their makers publish them, with 8,192 positions; what rotary angles are multiplied by changes no speed and is left out."""
_TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "head_dim": 16,
}
_chosen = ["starling"]


def choose(name):
    """Make models of this shape from now on: a name of ``SHAPES`` or a file of JSON, which is read at once."""
    config_of(name)
    _chosen[0] = name


def chosen():
    """Return what was chosen."""
    return _chosen[0]


def config_of(name, *, tiny=False):
    """Return the values of a config.json; ``tiny`` keeps the kind and the vocabulary, and makes all else small."""
    if name in SHAPES:
        values = dict(SHAPES[name])
    elif Path(name).suffix == ".json":
        values = json.loads(Path(name).read_text(encoding="utf-8"))
    else:
        raise SystemExit(f"no shape named '{name}'; there are {', '.join(SHAPES)}, or a file that ends in .json")
    return {**values, **_TINY} if tiny else values
