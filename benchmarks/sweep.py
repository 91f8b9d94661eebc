"""Times a sweep of eight settings with halving against the same settings as runs of their own, on the demo's base.

    python benchmarks/sweep.py --steps 120 --rows 10 --out sweep-times

Every run and the sweep are commands of their own, as a user starts them, one after the other. Seconds are of the wall clock
and of the processor; on a machine that others use, go by the latter. ``--solo 2`` times the first two runs only and takes
the others to be like them. The chosen setting's run is compared with its adapter in the sweep, byte for byte.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

GRID = {"lora.r": (8, 16), "train.learning_rate": (1e-3, 3e-3), "lora.dropout": (0.0, 0.05)}


def main() -> None:
    """Time both and print a table."""
    arguments = _arguments()
    shared = ["--bundle", "demo"]
    for change in (f"train.max_steps={arguments.steps}", f"eval.rows_per_source={arguments.rows}", "eval.loss=true"):
        shared += ["--set", change]
    out = arguments.out
    grid = [part for key, values in GRID.items() for part in ("--grid", f"{key}={','.join(map(str, values))}")]
    whole = _timed(["sweep", *shared, *grid, "--halving", "--out", str(out / "sweep"), "--json"])
    found = json.loads((out / "sweep" / "sweep.json").read_text())
    settings = found["settings"]
    winner = next(one for one in settings if one["name"] == found["winner"]["name"])
    chosen = [winner, *(one for one in settings if one is not winner)][: arguments.solo or len(settings)]
    alone: list[tuple[float, float]] = []
    for one in chosen:
        changes = [part for key, value in one["values"].items() for part in ("--set", f"{key}={value}")]
        alone.append(_timed(["train", *shared, *changes, "--out", str(out / "alone" / one["name"])]))
    factor = len(settings) / len(alone)
    wall, used = (factor * sum(of) for of in zip(*alone, strict=True))
    print(f"{found['sentence']}\n")
    print("| | wall clock, s | processor, s |\n| --- | ---: | ---: |")
    print(f"| {len(settings)} runs ({len(alone)} timed) | {wall:.0f} | {used:.0f} |")
    print(f"| sweep with halving | {whole[0]:.0f} | {whole[1]:.0f} |")
    print(f"| share | {whole[0] / wall:.2f} | {whole[1] / used:.2f} |")
    file = Path(winner["name"]) / "adapter" / "adapter_model.safetensors"
    same = (out / "sweep" / "runs" / file).read_bytes() == (out / "alone" / file).read_bytes()
    print(f"\nadapter of the chosen setting, in the sweep and alone: {'equal bytes' if same else 'UNLIKE'}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="updates of a run")
    parser.add_argument("--rows", type=int, default=10, help="validation rows of each source")
    parser.add_argument("--solo", type=int, default=0, help="runs to time; 0 for all")
    parser.add_argument("--out", type=Path, default=Path("sweep-times"), help="folder, empty or absent")
    return parser.parse_args()


def _timed(arguments: list[str]) -> tuple[float, float]:
    """Run a command of medtune; return its seconds by the wall clock and by the processor."""
    before, began = _used(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "medtune", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, _used() - before


def _used() -> float:
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


if __name__ == "__main__":
    main()
