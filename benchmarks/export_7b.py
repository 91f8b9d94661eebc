"""Merges an adapter into a base of Starling's shape with random weights, and writes GGUF files of it.

``python benchmarks/export_7b.py OUT.json [--tiny] [--quant Q8_0]...``: seconds, peak memory of the writing process, and the
logit distance of the merged model from base and adapter by peft, each part in a process of its own.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from medtune.export.llama_cpp.families import layout_of
from medtune.export.llama_cpp.vocabulary import Vocabulary
from medtune.export.llama_cpp.writing import WholeModel, write_model
from medtune.export.merged import MergedExporter
from medtune.export.tuned_weights import TunedWeights
from medtune.plugins.contracts import ExportSource
from medtune.specs import RunSpec

FULL = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336}  # fmt: skip
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}  # fmt: skip


def make(folder, tiny):
    """Write base and adapter."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32002, max_position_embeddings=8192, sliding_window=None, **(TINY if tiny else FULL)
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = MistralForCausalLM(config)
    model.save_pretrained(folder / "base", max_shard_size="5GB")
    lora = LoraConfig(r=8, lora_alpha=16, task_type="CAUSAL_LM", target_modules="all-linear")
    tuned = get_peft_model(model, lora)
    for name, parameter in tuned.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn_like(parameter, dtype=torch.float32) * 0.02
    tuned.save_pretrained(folder / "adapter")
    ids = torch.arange(1, 65, device=model.device)[None] * 311 % 32000
    with torch.inference_mode():
        logits = {"tuned": tuned(ids).logits[0].float().cpu()}
        with tuned.disable_adapter():
            logits["base"] = tuned(ids).logits[0].float().cpu()
    torch.save(logits, folder / "logits.safetensors.tmp")


def source_of(folder):
    """Return the run that the exporters see."""
    spec = RunSpec.model_validate({"model": {"path": str(folder / "base")}, "quant": {"scheme": "none"}})
    return ExportSource(folder, folder / "adapter", folder / "base", spec, (2,), {})


def merge(folder, _tiny):
    """Write the merged model."""
    (folder / "merged").mkdir()
    MergedExporter().export(source_of(folder), folder / "merged", {"dtype": "bf16"})


def gguf(folder, quant):
    """Write one GGUF file; the vocabulary is made up."""
    weights = TunedWeights(source_of(folder), "original")
    tokens = [f"t{number}" for number in range(32002)]
    vocabulary = Vocabulary(
        "llama", tokens, [1] * 32002, [0.0] * 32002, [], {"eos": 2, "bos": 1}, True, True, "", False
    )
    model = WholeModel(weights, layout_of(folder / "base"), vocabulary, None, quant, weights.read)
    write_model(folder / f"model-{quant}.gguf", model)


def compare(folder, _tiny):
    """Return how far the merged model is from base and adapter by peft, as shares of the largest logit."""
    import torch
    from transformers import MistralForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = MistralForCausalLM.from_pretrained(folder / "merged", dtype=torch.bfloat16, device_map={"": device})
    ids = torch.arange(1, 65, device=device)[None] * 311 % 32000
    with torch.inference_mode():
        found = model(ids).logits[0].float().cpu()
    logits = torch.load(folder / "logits.safetensors.tmp", weights_only=True)
    largest = logits["tuned"].abs().max()
    return {
        "merged_from_tuned": float((found - logits["tuned"]).abs().max() / largest),
        "base_from_tuned": float((logits["base"] - logits["tuned"]).abs().max() / largest),
        "same_best_token": float((found.argmax(-1) == logits["tuned"].argmax(-1)).float().mean()),
    }


def timed(part, folder, argument):
    """Run one part in this process and print its figures."""
    began = time.perf_counter()
    found = {"make": make, "merge": merge, "gguf": gguf, "compare": compare}[part](folder, argument) or {}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": round(time.perf_counter() - began, 1), "peak_gib": round(memory, 2), **found}))


def main():
    """Run every part in a process of its own."""
    if len(sys.argv) > 2 and sys.argv[1] == "--part":
        timed(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--quant", action="append")
    given = parser.parse_args()
    folder, found = Path(tempfile.mkdtemp(prefix="export-7b-", dir=given.out.absolute().parent)), {}
    try:
        parts = [
            ("make", given.tiny),
            ("merge", None),
            ("compare", None),
            *(("gguf", q) for q in given.quant or ["F16", "Q8_0", "Q4_K_M"]),
        ]
        for part, argument in parts:
            command = [sys.executable, __file__, "--part", part, str(folder), json.dumps(argument)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            name = f"gguf {argument}" if part == "gguf" else part
            found[name] = (
                json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-500:]}
            )
            if part == "gguf":
                file = folder / f"model-{argument}.gguf"
                found[name]["gib"] = round(file.stat().st_size / 2**30, 2) if file.exists() else None
                file.unlink(missing_ok=True)
            given.out.write_text(json.dumps(found, indent=1))
            print(name, found[name], flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
