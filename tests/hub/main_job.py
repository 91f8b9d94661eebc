"""The repositories of the default bundle in small: a tiny Mistral in Starling's files, and generated rows of all eleven sources."""

import io
import json

import pyarrow as pa
from pyarrow import parquet

from demo_base.generator import generate_rows
from medtune.specs.data import MEDTUNED, MEDTUNED_REVISION
from medtune.specs.model import STARLING, STARLING_REVISION
from medtune.testing.hub_contents import StandInHub

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + "
    "message['content'] + '<|end_of_turn|>'}}{% endfor %}{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}"
)
CARD = b"---\nlicense: apache-2.0\n---\n# A base\n"


def starling_files(folder):
    """Write a tiny Mistral with Starling's tokenizer into ``folder`` and return its files: three shards and an index."""
    import importlib.util
    import shutil
    from pathlib import Path

    import torch
    from transformers import LlamaTokenizerFast, MistralConfig, MistralForCausalLM

    package = Path(importlib.util.find_spec("mistral_common").origin).parent
    (folder / "made").mkdir(parents=True)
    shutil.copy(package / "data" / "tokenizer.model.v1", folder / "made" / "tokenizer.model")
    tokenizer = LlamaTokenizerFast.from_pretrained(folder / "made", legacy=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|end_of_turn|>", "<|pad_0|>"]})
    tokenizer.eos_token = "<|end_of_turn|>"
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "saved")
    settings = folder / "saved" / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "legacy": True}))
    config = MistralConfig(
        vocab_size=32002,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        sliding_window=4096,
        eos_token_id=32000,
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "saved", max_shard_size="600KB")
    files = {file.name: file.read_bytes() for file in sorted((folder / "saved").iterdir())}
    return {"README.md": CARD, **files, "pytorch_model.bin": b"never asked for"}


def medtuned_files(rows_per_source, held_out_per_source=2, length="short"):
    """Return the files of a data set with the columns and sources of the real one."""
    splits = {"train": ("train", rows_per_source), "validation": ("test", held_out_per_source)}
    return {
        "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n# Rows\n",
        **{
            f"data/{name}-00000-of-00001.parquet": table_of(
                generate_rows(own, count, seed=7, source_names="medtuned", length=length)
            )
            for name, (own, count) in splits.items()
        },
    }


def table_of(rows):
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows)), sink)
    return sink.getvalue()


def stand_in(starling, medtuned):
    """Return a hub with both repositories, each with another state on ``main`` than the pinned one."""
    other = {**starling, "config.json": starling["config.json"].replace(b"32002", b"32768")}
    return StandInHub(
        models={STARLING: {STARLING_REVISION: starling, "b" * 40: other}, "org/other": {"d" * 40: starling}},
        datasets={MEDTUNED: {MEDTUNED_REVISION: medtuned, "b" * 40: {}}, "org/rows": {"e" * 40: medtuned}},
        page=100,
    )
