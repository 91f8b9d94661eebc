"""The default run on a GPU: nf4 base of Starling's shape, 50 steps, an adapter that plain peft loads."""

import json
import subprocess
import sys

import pytest

LOAD_WITH_PLAIN_PEFT = """
import json, sys, torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
base_dir, adapter_dir, sample = sys.argv[1:]
kept = load_file(sample)
config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                            bnb_4bit_compute_dtype=torch.bfloat16)
base = AutoModelForCausalLM.from_pretrained(base_dir, quantization_config=config, dtype=torch.bfloat16, device_map={"": 0},
                                            attn_implementation="sdpa")
ids = kept["ids"].to("cuda")
with torch.no_grad():
    plain = base(input_ids=ids).logits.float().cpu()
    tuned = PeftModel.from_pretrained(base, adapter_dir).eval()(input_ids=ids).logits.float().cpu()
scale = (kept["logits"] - plain).abs().max()
print(json.dumps({"difference": ((tuned - kept["logits"]).abs().max() / scale).item(), "moved": scale.item()}))
"""


@pytest.mark.parametrize(
    "starling", [8, pytest.param(32, marks=pytest.mark.proof)], indirect=True, ids="{} layers".format
)
def test_fifty_steps_in_nf4_leave_an_adapter_that_plain_peft_loads(starling, medtuned_rows, tmp_path, figures):
    import torch
    from safetensors.torch import save_file

    from medtune import MedTuner

    tuner = MedTuner.from_defaults(
        model=starling,
        data=str(medtuned_rows),
        train={"max_steps": 50, "logging_steps": 5},
        eval={"enabled": False},
        output_dir=str(tmp_path / "run"),
    )
    assert tuner.spec.quant.scheme == "nf4"
    plan = tuner.plan()
    run = tuner.train()
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in log if "loss" in record]
    assert losses[-1] < losses[0] - 1
    sample = tuner.preview(1)[0]
    ids = torch.tensor([list(sample.input_ids)])
    model = run.loaded.model
    with torch.no_grad():
        logits = model(input_ids=ids.to("cuda")).logits.float().cpu()
    save_file({"ids": ids, "logits": logits}, tmp_path / "sample.safetensors")
    del model
    run._loaded = None
    torch.cuda.empty_cache()
    command = [sys.executable, "-c", LOAD_WITH_PLAIN_PEFT, starling, run.adapter_dir, tmp_path / "sample.safetensors"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    compared = json.loads(done.stdout.splitlines()[-1])
    figures(
        losses=[round(loss, 3) for loss in losses],
        tokens_per_second=round(run.metrics["tokens_per_second"]),
        logged_tokens_per_second=[round(r["tokens_per_second"]) for r in log if "loss" in r],
        peak_memory_gib=round(run.metrics["peak_memory_gib"], 2),
        planned_gib=round(plan.peak_gib, 2),
        seconds=round(run.metrics["seconds"], 1),
        **compared,
    )
    assert compared["difference"] < 0.02
    assert compared["moved"] > 0.1
