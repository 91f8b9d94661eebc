"""Runs one engine of the comparison in this process; compare.py starts it.

Usage: python benchmarks/contestant.py '{"engine": ..., "base": ..., "settings": [...], "shapes": [[16, 512, 0]], ...}'

Imports first, then waits for a line on its input that holds the time (as time.time() counts) after which no further run
starts: so that engines load while others have not begun yet, and never while one is timed. Every run appends a line of
JSON to the file that ``out`` names.
"""

import json
import os
import sys
import time
import traceback
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ENGINES = {
    "checkpoint": ("contest", "Checkpoint"),
    "reference": ("contest_reference", "Reference"),
    "medtune": ("contest_medtune", "Medtune"),
    "trl": ("contest_peers", "Trl"),
    "unsloth": ("contest_peers", "Unsloth"),
}


def load(order):
    """Import what the engine needs, and return its class."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", UNSLOTH_DISABLE_STATISTICS="1")
    if order["engine"] == "unsloth":
        import_module("unsloth")  # before all that it patches
    module, name = ENGINES[order["engine"]]
    found = getattr(import_module(module), name)
    if order["engine"] in ("medtune", "unsloth", "trl"):
        import_module("trl.trainer.sft_trainer")
    if order["base"] == "nf4":
        import_module("bitsandbytes")
    return found


def versions():
    """Return the versions of what takes part."""
    found = {}
    for name in ("torch", "transformers", "peft", "bitsandbytes", "triton", "trl", "unsloth", "liger-kernel"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def run_all(engine, order, until, tell):
    """Run the settings over the shapes."""
    from starling_shape import CUDA, free, torch

    device = torch.cuda.get_device_name() if CUDA else "CPU"
    for shape, setting in [(tuple(shape), setting) for shape in order["shapes"] for setting in order["settings"]]:
        rows, length, texts = shape
        row = {**setting, "rows": rows, "length": length, "texts": texts, "device": device, "versions": versions()}
        if time.time() > until:
            tell({**row, "failed": "not run: the budget was used up"})
            continue
        try:
            row |= engine.run(setting, shape)
        except Exception as error:  # noqa: BLE001 - one run must not cost the others
            row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            traceback.print_exc()
        tell(row)
        free()


def main():
    """Load, wait to be asked, run."""
    order = json.loads(sys.argv[1])
    out = Path(order["out"])
    engine = load(order)
    out.with_suffix(".ready").touch()
    import_module("shapes").choose(order.get("model", "starling"))
    line = sys.stdin.readline()
    if not line.strip():
        return  # not wanted any more
    began = time.time()

    def tell(row):
        with out.open("a") as file:
            file.write(json.dumps({**row, "at_s": round(time.time() - began, 1)}) + "\n")

    try:
        made = engine(order)
    except Exception as error:
        tell({"failed": f"{type(error).__name__}: {str(error)[:300]}"})
        raise
    run_all(made, order, float(line), tell)


if __name__ == "__main__":
    main()
