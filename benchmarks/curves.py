"""Compares loss curves on the demo's pre-trained base: the fast path against plain peft, fp8 against the stored type.

Usage: python benchmarks/curves.py OUT [--steps 300] [--batch 2] [--score ROWS] [--only NAME...] [--show]

Every run trains the demo bundle for that many steps into OUT/NAME (a finished one is not repeated, so processes may share
the work by --only), then the table is printed: the largest difference of the loss of a step, and that of means over 25
steps, which is what seeds differ by. --show only prints it.
"""

import argparse
import itertools
import json
from pathlib import Path

from medtune import MedTuner

WINDOW = 25
# name: storage of the base, fast path, seed
RUNS = {
    "nf4_fast": ("nf4", "auto", 0),
    "nf4_plain": ("nf4", "off", 0),
    "none_0": ("none", "auto", 0),
    "fp8_0": ("fp8", "auto", 0),
    "none_1": ("none", "auto", 1),
    "none_2": ("none", "auto", 2),
    "fp8_1": ("fp8", "auto", 1),
    "fp8_2": ("fp8", "auto", 2),
}


def train(folder, run, arguments):
    """Train one run and leave its losses and scores in ``folder``/result.json."""
    scheme, fast_path, seed = run
    tuner = MedTuner.from_bundle(
        "demo",
        seed=seed,
        output_dir=str(folder / "run"),
        quant={"scheme": scheme},
        train={
            "max_steps": arguments.steps,
            "per_device_batch_size": arguments.batch,
            "logging_steps": 1,
            "fast_path": fast_path,
        },
        eval={"enabled": bool(arguments.score), "rows_per_source": arguments.score or 1},
    )
    done = tuner.train()
    records = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    result = json.loads((folder / "run" / "run.json").read_text())["result"]
    kept = {"losses": losses, "fast_path": result["fast_path"], "scores": done.metrics["scores"]}
    (folder / "result.json").write_text(json.dumps(kept))


def differences(one, other):
    """Return the largest difference of a step's loss, and of the mean over a window of steps."""
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    means = [abs(a - b) for a, b in zip(smooth(one), smooth(other), strict=True)]
    return max(apart), max(means)


def smooth(losses):
    """Return the means over every window of steps."""
    return [sum(losses[i : i + WINDOW]) / WINDOW for i in range(len(losses) - WINDOW + 1)]


def show(found):
    """Print the table."""
    pairs = [("nf4_fast", "nf4_plain"), *((f"fp8_{seed}", f"none_{seed}") for seed in range(3))]
    pairs += list(itertools.combinations([f"none_{seed}" for seed in range(3)], 2))
    print("| runs | largest difference of a step | of means over 25 steps | last mean |")
    print("| --- | --- | --- | --- |")
    for one, other in pairs:
        if one in found and other in found:
            step, mean = differences(found[one]["losses"], found[other]["losses"])
            ends = " and ".join(f"{smooth(found[name]['losses'])[-1]:.4f}" for name in (one, other))
            print(f"| {one}, {other} | {step:.2e} | {mean:.2e} | {ends} |")
    for name, result in found.items():
        print(name, result["fast_path"], json.dumps(result["scores"])[:400] if result["scores"] else "")


def main():
    """Train what is missing and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--score", type=int, default=0, help="validation rows per source that are scored")
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--show", action="store_true")
    arguments = parser.parse_args()
    for name in () if arguments.show else arguments.only:
        folder = arguments.out / name
        if not (folder / "result.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            train(folder, RUNS[name], arguments)
            print(name, "done", flush=True)
    files = {name: arguments.out / name / "result.json" for name in RUNS}
    show({name: json.loads(file.read_text()) for name, file in files.items() if file.exists()})


if __name__ == "__main__":
    main()
