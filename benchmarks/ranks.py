"""Can a run of several processes be lost? Kills any of them at random moments, and goes on with another number of processes.

python benchmarks/ranks.py --trials 100      (--seed N for other moments; several sittings with several seeds add up)

A run has survived when, started again with 1 to 4 processes each time until it ends with 0, every update took the samples that an
undisturbed run of one process takes (tokens, and supervised tokens by source, equal at every step) and its losses are within 1e-6.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from medtune.runs.manifest import verify_folder
from medtune.runs.store import CheckpointStore
from medtune.testing.faults import Fault, FaultLab, Outcome
from medtune.testing.tiny import tiny_base
from medtune.testing.trials import Tally

VICTIM = "medtune.testing.tiny_run:tiny_run"
PROCESSES = (1, 2, 3, 4)
EXACT = ("step", "learning_rate", "tokens", "supervised_tokens", "supervised_by_source")
GAP = 1e-6
MOST_STARTS, MOST_KILLS = 6, 12
TRAIN = {
    "per_device_batch_size": 1,
    "gradient_accumulation_steps": 12,
    "num_train_epochs": 8,
    "logging_steps": 1,
    "save_steps": 1,
}


def losses(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the records of a finished run that hold a loss."""
    return [record for record in outcome.result["log"] if "loss" in record]


def difference(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> str | None:
    """Return what is not as in the undisturbed run, or None."""
    if [r["step"] for r in found] != [r["step"] for r in wanted]:
        return f"records of steps {[r['step'] for r in found]}"
    for one, other in zip(found, wanted, strict=True):
        if wrong := [key for key in EXACT if one[key] != other[key]]:
            return f"step {one['step']}: {', '.join(wrong)} differ"
        if abs(one["loss"] - other["loss"]) > GAP:
            return f"step {one['step']}: losses differ by {abs(one['loss'] - other['loss']):.1e}"
    return None


def trial(lab: FaultLab, options: dict[str, Any], wanted: Outcome, draw: random.Random) -> tuple[str | None, str]:
    """Kill until one to three kills have hit, then let the run end; return the problem, and what was done."""
    done: list[str] = []
    with tempfile.TemporaryDirectory(prefix="medtune-ranks-") as name:
        before = hits = 0
        wished, longest = draw.choice((1, 1, 2, 3)), wanted.seconds
        while hits < wished and len(done) < MOST_KILLS:
            ranks = draw.choice([n for n in PROCESSES if n != before])
            fault = Fault(signal="SIGKILL", after=draw.uniform(0, longest), rank=draw.randrange(ranks))
            killed = lab.run(Path(name), fault, options, ranks)
            saved = CheckpointStore(Path(name) / "run" / "checkpoints", 1).newest_step or 0
            done.append(f"rank {fault.rank} of {ranks}, step {saved} saved{'' if killed.was_killed else ', too late'}")
            hits, before = hits + killed.was_killed, ranks
            if not killed.was_killed:  # the run is finished: begin another
                longest *= 0.7
                shutil.rmtree(Path(name) / "run")
                hits = 0
        for _ in range(MOST_STARTS):
            ranks = draw.choice([n for n in PROCESSES if n != before])
            outcome = lab.run(Path(name), None, options, ranks)
            done.append(f"on with {ranks}")
            if outcome.result is not None:
                verify_folder(Path(name) / "run" / "adapter")
                return difference(losses(outcome), losses(wanted)), "; ".join(done)
            before = ranks
    return f"never finished ({outcome.error or outcome.status})", "; ".join(done)


def main() -> int:
    """Run the series; the exit status is 1 when a run was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no trial begins after so many")
    arguments = parser.parse_args()
    tally, draw, started = (
        Tally("SIGKILL of any rank, on with another number"),
        random.Random(arguments.seed),
        time.monotonic(),
    )
    with tempfile.TemporaryDirectory(prefix="medtune-ranks-") as name, FaultLab(VICTIM) as lab:
        tiny_base(Path(name) / "base")
        options = {"base": str(Path(name) / "base"), "train": TRAIN, "lora": {"dropout": 0.1}, "rows": {"count": 29}}
        for folder in ("warm", "reference"):  # the first run of a laboratory is slow
            (Path(name) / folder).mkdir()
            wanted = lab.run(Path(name) / folder, None, options)
        while tally.of < arguments.trials and time.monotonic() - started < arguments.minutes * 60:
            problem, done = trial(lab, options, wanted, draw)
            tally.count(problem and f"{problem}: {done}")
            print(f"{tally.of}: {problem or 'survived'}: {done}", flush=True)
    print(f"{tally}  ({time.monotonic() - started:.0f} s)")
    for failure in tally.failures:
        print(f"  {failure}")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
