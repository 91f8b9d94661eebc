"""Predicted against measured peak memory of training on one GPU: Starling's shape, random weights, the real trainer.

Usage: python benchmarks/memory.py OUT.json [--budget SECONDS] [--only TEXT] [--tiny]

Each case is `medtune bench` with the settings fixed: storage x recompute x length at 8,192 tokens per micro-batch, then
smaller ones and the plain path. The error is prediction over measurement, less 1, of what torch allocates at its
peak while training. Beside it: what torch has reserved, and what the device holds outside of torch (context). A line per
case as it is done; OUT.json is rewritten each time. ``--only`` takes the cases whose name holds TEXT, ``--tiny`` runs a
small model, also on a CPU, where the measured peak is that of the process and has no error.
"""

import argparse
import gc
import json
import sys
import time
import traceback
from pathlib import Path

import torch

from medtune import RunSpec
from medtune.plugins.host import create_host
from medtune.workflow.bench import bench

GIB = 2**30
STEPS = 20
SHAPES = [(16, 512), (4, 2048)]
PLAIN = [
    ("nf4", "none", 1, 512),
    ("nf4", "none", 1, 2048),
    ("nf4", "none", 4, 512),
    ("nf4", "none", 8, 512),
    ("nf4", "all", 1, 512),
    ("nf4", "all", 1, 2048),
    ("nf4", "all", 16, 512),
    ("nf4", "all", 4, 2048),
    ("none", "none", 4, 512),
    ("none", "none", 8, 512),
    ("none", "all", 4, 2048),
]
# storage, recompute, rows, length, fast path, restored weights; those that matter most first
CASES = [
    ("nf4", "none", 16, 512, "auto", "keep"),
    *(
        (scheme, recompute, *shape, "auto", "each_pass")
        for shape in SHAPES
        for recompute in ("none", "all", "selective")
        for scheme in ("nf4", "none", "fp8")
    ),
    ("nf4", "offload", 16, 512, "auto", "each_pass"),
    ("nf4", "none", 4, 512, "auto", "keep"),
    ("none", "none", 4, 512, "auto", "each_pass"),
    ("fp8", "none", 4, 512, "auto", "each_pass"),
    ("fp8", "none", 8, 512, "auto", "each_pass"),
    ("nf4", "none", 4, 2048, "auto", "keep"),
    *((*case, "off", "each_pass") for case in PLAIN),
]
TINY = {
    "model_type": "mistral",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 300,
}


def spec_of(case, folder):
    """Return the run of a case; ``folder`` holds a config.json, None takes Starling's shape."""
    scheme, recompute, rows, length, fast_path, restored = case
    train = {
        "per_device_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "micro_batch": "as_written",
        "max_length": length,
        "recompute": recompute,
        "fast_path": fast_path,
        "dequantized_weights": restored,
    }
    model = {} if folder is None else {"path": str(folder)}
    return RunSpec(quant={"scheme": scheme}, train=train, model=model, eval={"enabled": False})


def measure(case, folder, host):
    """Return the figures of a case."""
    report = bench(spec_of(case, folder), host, STEPS).to_json()
    found = {
        "path": report["path"],
        "predicted_gib": round(report["predicted"]["peak_gib"], 3),
        "measured_gib": round(report["measured"]["peak_gib"], 3),
        "error": None if report["peak_error"] is None else round(report["peak_error"], 4),
        "predicted_tokens_per_second": report["predicted"]["tokens_per_second"],
        "tokens_per_second": round(report["measured"]["tokens_per_second"]),
    }
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found["reserved_peak_gib"] = round(torch.cuda.max_memory_reserved() / GIB, 3)
        found["context_gib"] = round((total - free - torch.cuda.memory_reserved()) / GIB, 3)
    return found


def free():
    """Give back memory that nobody holds, and start the peaks anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main():
    """Run the cases in order, as long as the budget lasts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=500, help="seconds after which no further case starts")
    parser.add_argument("--only", default="", help="run the cases whose name holds this")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    began, rows, host, folder = time.monotonic(), [], create_host(), None
    if arguments.tiny:
        folder = arguments.out.parent / "tiny-shape"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(TINY))
    for case in CASES:
        scheme, recompute, count, length, fast_path, restored = case
        name = f"{scheme} recompute={recompute} {count}x{length} fast_path={fast_path} dequantized_weights={restored}"
        if arguments.only not in name:
            continue
        row = {"case": name}
        rows.append(row)
        if time.monotonic() - began > arguments.budget:
            row["failed"] = "not run: the budget was used up"
        else:
            try:
                row.update(measure(case, folder, host))
            except Exception as error:  # noqa: BLE001 - one case must not cost the others
                row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
                print("\n".join(traceback.format_exc().splitlines()[-6:]), file=sys.stderr, flush=True)
            free()
        row["at_s"] = round(time.monotonic() - began, 1)
        print(json.dumps(row), flush=True)
        arguments.out.write_text(json.dumps({"rows": rows}, indent=1))
    errors = [abs(row["error"]) for row in rows if row.get("error") is not None]
    print(f"worst error {max(errors):.1%} of {len(errors)} cases" if errors else "no peak to compare", flush=True)


if __name__ == "__main__":
    main()
