"""Whole-run truth on one GPU: what 200 steps of ``MedTuner.train()`` reach, against their own steady rate and the bare loop.

Usage: python benchmarks/whole_run.py OUT.json [--steps N] [--schemes nf4 fp8 none] [--base DIR] [--dropout P] [--tiny]
       [--model NAME] [--cold]

The base has Starling's shape, or ``--model``'s, and random weights, written once into DIR (14.5 GB). The rows are generated in MedTuned's
columns, so that their lengths differ and micro-batches come in many sizes. A run prepares them, loads the base, trains 16 x
512 tokens a step with a record every ten steps and saves one checkpoint at the end, as a user's does. Then, in the same
process, the kernels' bare loop runs over rows of the same length on the same model. Figures per scheme:

- ``whole``: real tokens over all of the training, compiling, recording, logging and saving included;
- ``steady``: median of the records after the first quarter, and ``share`` = whole / steady, to be 0.95 or more;
- ``cold``: whether the Triton cache was empty, by ``--cold``; torch.compile and CUDA keep caches of their own. Give one scheme
  then: kernels that an earlier one loaded stay in the process;
- ``bare``: of the bare loop, with the same dropout;
- ``sizes``: recorded sizes of micro-batches.

A line per scheme as it is done; OUT.json is rewritten each time. ``--tiny`` runs a small model, also on a CPU.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from pathlib import Path

from contest import write_checkpoint
from generated_rows import generate_rows
from shapes import choose
from starling_shape import free
from train import time_steps

from medtune import MedTuner, ModelSpec
from medtune.accel.train.cuda_graphs import CudaGraphs
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.plugins.host import create_host

ROWS, LENGTH = 16, 512
PER_SOURCE = 1500
"""Generated rows of each source: enough for 200 steps without a second epoch."""


def write_rows(path, count):
    """Write generated rows in MedTuned's columns."""
    lines = (json.dumps(row) for row in generate_rows("train", count, 0, source_names="medtuned"))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_base(folder, tiny):
    """Write the base with the demo's tokenizer, which has a chat template and knows the rows' words."""
    write_checkpoint(folder, tiny)
    demo = create_host(autoload=False).find("bundle", "demo").spec.model.path
    save_tokenizer(load_tokenizer(ModelSpec(path=demo)), folder)


def whole_run(scheme, folder, options):
    """Train by ``MedTuner`` and return the figures."""
    tuner = MedTuner.from_defaults(
        model=str(options.base),
        data=str(folder / "rows.jsonl"),
        quant={"scheme": scheme},
        lora={"dropout": options.dropout},
        train={
            "per_device_batch_size": ROWS if not options.tiny else 2,
            "gradient_accumulation_steps": 1,
            "micro_batch": "as_written",
            "max_length": LENGTH,
            "max_steps": options.steps,
            "logging_steps": 10,
            "save_strategy": "no",
            "recompute": "none",
        },
        eval={"enabled": False},
        output_dir=str(folder / f"run-{scheme}"),
    )
    sizes, begun = counted_sizes(), time.perf_counter()
    run = tuner.train()
    seconds = time.perf_counter() - begun
    log = [json.loads(line) for line in (folder / f"run-{scheme}" / "log.jsonl").read_text().splitlines()]
    speeds = [record["tokens_per_second"] for record in log if "tokens_per_second" in record]
    steady = statistics.median(speeds[len(speeds) // 4 :])
    whole = run.metrics["tokens_per_second"]
    figures = {
        "scheme": scheme,
        "steps": options.steps,
        "dropout": options.dropout,
        "whole": round(whole),
        "steady": round(steady),
        "share": round(whole / steady, 4),
        "cold": options.cold,
        "first_record": round(speeds[0]),
        "sizes": len(set(sizes)),
        "train_call_s": round(seconds, 1),
    }
    return figures, run


def counted_sizes():
    """Return a list that fills with the sizes that passes are recorded for."""
    sizes, record = [], CudaGraphs._capture  # noqa: SLF001 - what is counted has no other door

    def note(self, batch, seed):
        sizes.append(batch.size)
        return record(self, batch, seed)

    CudaGraphs._capture = note  # noqa: SLF001 - as above
    return sizes


def bare_loop(model, options):
    """Return tokens per second of the kernels without a trainer around them."""
    model.train()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)  # a run hands its adapter over frozen
    arguments = argparse.Namespace(tiny=options.tiny, no_profile=True, no_record=False)
    rows = ROWS if not options.tiny else 2
    return time_steps(model, ("none", rows, LENGTH, "each_pass"), arguments)["tokens_per_second"]


def main():
    """Run all schemes, each in its own attempt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--schemes", nargs="*", default=["nf4", "fp8"], choices=["nf4", "fp8", "none"])
    parser.add_argument("--base", type=Path, default=Path(tempfile.gettempdir()) / "starling-base")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--model", default="starling", help="shape of the base: a name of shapes.py, or a config.json")
    parser.add_argument(
        "--cold", action="store_true", help="an empty Triton cache for each scheme: a machine's first start"
    )
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    choose(options.model)
    found = []
    write_base(options.base, options.tiny)
    free()
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.jsonl", 40 if options.tiny else PER_SOURCE)
        for scheme in options.schemes:
            if options.cold:
                os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / f"triton-{scheme}")
            try:
                figures, run = whole_run(scheme, Path(folder), options)
                figures["bare"] = bare_loop(run.loaded.model, options)
                del run
            except Exception as error:  # noqa: BLE001 - one scheme must not cost the others
                figures = {"scheme": scheme, "failed": f"{type(error).__name__}: {str(error)[:300]}"}
                print("\n".join(traceback.format_exc().splitlines()[-6:]), file=sys.stderr, flush=True)
            found.append(figures)
            print(json.dumps(figures), flush=True)
            options.out.write_text(json.dumps({"runs": found}, indent=1))
            free()


if __name__ == "__main__":
    main()
