"""A base that FSDP2 shards over the processes of a GPU machine, here one, trains in bf16 as the whole one does."""

import pytest

from medtune.errors import SpecError
from medtune.machine.hardware import seed_all
from medtune.plugins.contracts import Job
from medtune.plugins.host import create_host
from medtune.specs import ModelSpec, RunSpec

SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 258,  # of the tiny tokenizer
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from medtune.testing.tiny import tiny_base

    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    torch.manual_seed(0)
    config = MistralConfig(**SHAPE, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    MistralForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_group_left_behind():
    from torch import distributed

    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def train(base, folder, scheme, parallel):
    import torch

    from medtune.testing.tiny import RandomRows

    spec = RunSpec.model_validate(
        {
            "quant": {"scheme": scheme, "backend": "fp8" if scheme == "fp8" else "bitsandbytes"},
            "lora": {"dropout": 0.0},
            "train": {
                "parallel": parallel,
                "fast_path": "off",
                "max_length": 512,
                "max_steps": 6,
                "logging_steps": 1,
                "optim": "adamw_torch",
                "save_strategy": "no",
            },
        }
    )
    host = create_host(autoload=False)
    quantizer = host.find("quantizer", spec.quant.backend)
    load = quantizer.load_sharded if parallel == "fsdp" else quantizer.load
    seed_all(0)
    loaded = host.find("adapter", "peft").attach(load(ModelSpec(path=str(base)), spec.quant), spec.lora)
    records = []
    rows = RandomRows(count=24, max_length=512)
    host.find("trainer", "trl").fit(Job(spec, loaded, rows, folder, 6, on_log=records.append))
    ids = torch.arange(2, 34, device=loaded.device)[None]
    with torch.no_grad(), loaded.in_step():
        logits = loaded.model(input_ids=ids).logits.float()
    return [record["loss"] for record in records if "loss" in record], logits


@pytest.mark.parametrize("scheme", ["none", "fp8"])
def test_a_base_sharded_over_one_gpu_trains_as_the_whole_one(base, tmp_path, scheme, figures):
    import torch

    from medtune.machine.hardware import describe_machine

    if scheme == "fp8" and not describe_machine().accelerator.has_fp8:
        pytest.skip("needs a GPU with fp8 products")
    if scheme == "fp8" and tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13):
        with pytest.raises(SpecError, match="shards no weights that are stored in bytes"):
            train(base, tmp_path / "refused", scheme, "fsdp")
        return
    whole, logits = train(base, tmp_path / "whole", scheme, "ddp")
    sharded, found = train(base, tmp_path / "sharded", scheme, "fsdp")
    differs = (found - logits).abs().max().item() / logits.abs().max().item()
    figures(whole=whole, sharded=sharded, logits=differs, peak_gib=torch.cuda.max_memory_allocated() / 2**30)
    assert len(sharded) == 6
    assert sharded == pytest.approx(whole, rel=1e-3)
    assert differs < 3e-2
