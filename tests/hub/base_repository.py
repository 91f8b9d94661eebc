"""A repository in the layout of a base model on the hub, and how long its tests wait for it."""

from medtune.data.hub.watch import Patience

COMMIT, OLDER = "c" * 40, "0" * 39 + "1"
SHARD = bytes(range(256)) * 256
CONFIG = b'{"model_type": "mistral"}'
IMPATIENT = Patience(silence=1.5, answer=0.25, attempts=3, pause=0.01, longest_wait=0.5)


def shards_of(*names):
    return {name: SHARD + name.encode() for name in names}


FILES = {
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "config.json": CONFIG,
    "tokenizer.json": b'{"version": "1.0"}',
    "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}',
    **shards_of("model-1.safetensors", "model-2.safetensors"),
    "pytorch_model.bin": b"not asked for",
    "original/consolidated.safetensors": b"not asked for",
}
