"""Compares medtune with trl and unsloth, each where installed, on one GPU and the same work.

Usage: python benchmarks/compare.py OUT.json [--budget SECONDS] [--only TEXT] [--shapes 16x512,16x512x45] [--tiny]
       [--model starling|llama-3-8b|qwen2.5-7b|llama-3.2-1b|smollm2-135m|gemma|FILE.json] [--steps N]
       [--checkpoint FOLDER] [--limit SECONDS] [--no-bare]

The work: random weights of Starling's shape or of ``--model``'s (see shapes.py), four batches of packed rows in turn (log-normal lengths, 45 % of each sample
supervised), LoRA r 8 without dropout on all seven linear layers from the same adapter values, AdamW, bf16. A shape's third
number is that of the texts that its samples begin with, as rows made from few instructions do; without one they share nothing.
Every engine runs in a process of its own. The first four steps are discarded; the figure is the median of the rest, in real
tokens. medtune runs through the trainer that MedTuner.train() uses and isolates the samples of a row, with a bare loop of its
kernels beside it; trl and unsloth run their trainer on the same rows, in which they let a sample see those before it, which is
their fast form; trl runs with the samples apart too.

Loss and gradient norm of each first step are compared with plain eager peft on the same weights and rows, with samples
isolated for medtune and not for the others; fp8 is compared with bf16. A run without a gradient, or further than 1 % in loss
or 10 % in gradient norm from that, is no result. OUT.json is rewritten after each run; a table comes last. What the
engines print goes to OUT.json.logs. ``--only`` takes the contestants whose name holds one of the texts between commas.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from shapes import SHAPES as SHAPES_BY_NAME
from shapes import config_of

SHAPES = "16x512,4x512,4x2048,1x8192"
HERE = Path(__file__).parent
UNTIMED = ("checkpoint", "reference")
LOSS_OFF, NORM_OFF = 0.01, 0.10


@dataclass
class Contestant:
    """One process: an engine on one base, which runs its settings one after the other."""

    engine: str
    base: str
    settings: list
    rows: list = field(default_factory=list)
    process: subprocess.Popen | None = None
    seen: int = 0

    @property
    def name(self):
        """What ``--only`` looks at."""
        return f"{self.engine} {self.base} {self.label}"

    @property
    def label(self):
        """The names of its settings."""
        return ", ".join(setting["name"] for setting in self.settings)


def contestants():
    """Return all that there are; those that matter most first."""
    either = [{"name": "isolated", "isolated": True}, {"name": "as one text", "isolated": False}]

    def one(engine, base, name, recompute, **more):
        return Contestant(engine, base, [{"isolated": False, "name": name, "recompute": recompute, **more}])

    own = [
        {"name": "no recompute, weights kept restored", "recompute": "none", "isolated": True, "restored": "keep"},
        {"name": "no recompute", "recompute": "none", "isolated": True},
        {"name": "offloaded recompute", "recompute": "offload", "isolated": True},
    ]
    whole = {"name": "no recompute, prefixes not shared", "recompute": "none", "isolated": True, "shares": False}
    return [
        Contestant("reference", "nf4", either),
        one("unsloth", "nf4", "no recompute", "none"),
        Contestant("medtune", "nf4", own),
        one("unsloth", "nf4", "default, offloaded recompute", "offload"),
        one("trl", "nf4", "Liger, no recompute", "none", liger=True),
        Contestant("reference", "bf16", either),
        Contestant("medtune", "fp8", own[1:2]),
        Contestant("medtune", "bf16", [own[1], whole]),
        one("unsloth", "nf4", "no recompute, compiled blocks", "none", feeding="padded"),
        one("trl", "nf4", "default, recompute", "all"),
        one("trl", "bf16", "Liger, no recompute", "none", liger=True),
        one("trl", "nf4", "apart, recompute", "all", isolated=True),
        one("trl", "nf4", "apart by flex attention, recompute", "all", isolated=True, attention="flex_attention"),
    ]


def is_here(contestant):
    """Whether what a contestant needs is installed."""
    needed = {"trl": ["trl"], "unsloth": ["unsloth", "unsloth_zoo", "trl"]}.get(contestant.engine, [])
    needed += ["liger_kernel"] if any(setting.get("liger") for setting in contestant.settings) else []
    return all(find_spec(name) for name in needed)


def start(contestant, number, arguments, folder):
    """Start a contestant's process, which imports and then waits."""
    order = {
        "engine": contestant.engine,
        "base": contestant.base,
        "settings": contestant.settings,
        "shapes": arguments.shapes,
        "steps": arguments.steps,
        "tiny": arguments.tiny,
        "model": arguments.model,
        "bare": not arguments.no_bare,
        "checkpoint": str(arguments.checkpoint),
        "out": str(folder / f"{number}.jsonl"),
    }
    own = folder / str(number)  # unsloth writes the code that it generates to where it is started
    own.mkdir()
    with log_of(contestant, number, arguments).open("w") as log:
        contestant.process = subprocess.Popen(
            [sys.executable, str(HERE / "contestant.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=own,
        )
    return Path(order["out"])


def log_of(contestant, number, arguments):
    """Return the file that holds what a contestant prints."""
    folder = arguments.out.with_name(arguments.out.name + ".logs")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{number}-{contestant.engine}-{contestant.base}.log"


def wait_for_imports(field_, outs, limit):
    """Wait until every process has imported what it needs or has failed: nothing may load while another is timed."""
    began = time.monotonic()
    waiting = list(zip(field_, outs, strict=True))
    while waiting and time.monotonic() - began < limit:
        time.sleep(0.1)
        waiting = [(c, o) for c, o in waiting if c.process.poll() is None and not o.with_suffix(".ready").exists()]


def let_run(contestant, out, log, limit, until):
    """Let a contestant run, and yield its rows as they come."""
    if time.time() > until:
        yield {"failed": "not run: the budget was used up"}
        return
    began, process = time.monotonic(), contestant.process
    with contextlib.suppress(BrokenPipeError):  # it failed while it was imported
        process.stdin.write(f"{until}\n".encode())
        process.stdin.close()
    ended = False
    while not ended:
        ended = process.poll() is not None
        lines = out.read_text().splitlines() if out.exists() else []
        for line in lines[contestant.seen :]:
            contestant.seen += 1
            yield json.loads(line)
        if not ended and time.monotonic() - began > limit:
            process.kill()
            process.wait()
            yield {"failed": f"stopped after {limit} s"}
            return
        time.sleep(0.1)
    if process.returncode and not contestant.seen:
        text = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        yield {"failed": f"ended with {process.returncode}: {text[-1][:300]}"}


def judge(rows):
    """Compare every run's first step with the reference on its base and rows, in place."""
    found = {(r["base"], r["isolated"], *work_of(r)): r for r in rows if r["engine"] == "reference" and "loss" in r}
    for row in rows:
        if row["engine"] == "reference" or "loss" not in row:
            continue
        base = "bf16" if row["base"] == "fp8" else row["base"]
        plain = found.get((base, row["isolated"], *work_of(row)))
        if plain:
            row["loss_off"] = round(row["loss"] / plain["loss"] - 1, 5)
            row["grad_norm_off"] = round(row["grad_norm"] / plain["grad_norm"] - 1, 5)
            row["agrees"] = abs(row["loss_off"]) <= LOSS_OFF and abs(row["grad_norm_off"]) <= NORM_OFF
        if not row["grad_norm"] > 0:
            row["agrees"] = False


def work_of(row):
    """Return rows, length and texts of a run."""
    return row["rows"], row["length"], row["texts"]


def table(rows):
    """Return the lines of the table: by regime and shape, the fastest first, each with its ratio to the best peer."""
    runs = [r for r in rows if "tokens_per_second" in r and r.get("agrees") is not False]
    groups = {}
    for row in runs:
        regime = "no recompute" if row["recompute"] == "none" else "recompute"
        groups.setdefault((regime, *work_of(row)), []).append(row)
    lines = [
        "| regime | rows | who | base | setting | isolated | tokens/s | x best peer | MFU | peak GiB | loss | gradient |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (regime, *work), members in sorted(groups.items(), key=lambda g: (g[0][0], g[0][2], -g[0][1], g[0][3])):
        shape = f"{work[0]} x {work[1]}" + (f", {work[2]} texts" if work[2] else "")
        best = max((r["tokens_per_second"] for r in members if r["engine"] != "medtune"), default=None)
        for r in sorted(members, key=lambda r: -r["tokens_per_second"]):
            ratio = f"{r['tokens_per_second'] / best:.2f}" if best else ""
            off = [f"{r[n]:+.2%}" if n in r else "not compared" for n in ("loss_off", "grad_norm_off")]
            peak = "" if r["peak_gib"] is None else f"{r['peak_gib']:.1f}"
            cells = [regime, shape, r["engine"], r["base"], r["name"], "yes" if r["isolated"] else "no"]
            cells += [f"{r['tokens_per_second']:,}", ratio, f"{r['mfu']:.2f}", peak, *off]
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        f"no result: {r['engine']} {r['base']} {r.get('name', '')} {r.get('rows', 'all')} x {r.get('length', 'all')}: "
        + r.get("failed", f"loss {r.get('loss_off', 0):+.2%}, gradient norm {r.get('grad_norm_off', 0):+.2%}")
        for r in rows
        if "failed" in r or r.get("agrees") is False
    ]
    return lines


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=900, help="seconds after which no further run starts")
    parser.add_argument("--limit", type=float, default=180, help="most seconds that one engine's process may take")
    parser.add_argument("--only", default="", help="contestants whose name holds one of these, between commas")
    parser.add_argument("--shapes", default=SHAPES, help="rows x length [x texts], between commas")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of a run")
    parser.add_argument("--checkpoint", type=Path, help="folder for the base that peers load (15 GB); kept when given")
    parser.add_argument("--no-bare", action="store_true", help="leave out the bare loop of medtune's kernels")
    parser.add_argument("--model", default="starling", help="shape of the base: a name of shapes.py, or a config.json")
    parser.add_argument("--tiny", action="store_true", help="a small model, also on a CPU")
    arguments = parser.parse_args()
    if arguments.tiny and arguments.shapes == SHAPES:
        arguments.shapes = "2x512"
    arguments.shapes = [[*map(int, shape.split("x")), 0][:3] for shape in arguments.shapes.split(",")]
    config_of(arguments.model)  # an unknown one ends here
    if arguments.model not in SHAPES_BY_NAME:
        arguments.model = str(Path(arguments.model).absolute())  # engines run elsewhere
    arguments.out = arguments.out.absolute()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    return arguments


def main():
    """Let the contestants run one after the other, as long as the budget lasts."""
    arguments = parse()
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix="medtune-compare-"))
    until = time.time() + arguments.budget
    arguments.checkpoint = (arguments.checkpoint or folder / "checkpoint").absolute()
    wanted = [c for c in contestants() if any(text in c.name for text in arguments.only.split(","))]
    rows = [
        {"engine": c.engine, "base": c.base, "name": c.label, "failed": "not installed"}
        for c in wanted
        if not is_here(c)
    ]
    field_ = [c for c in wanted if is_here(c)]
    if any(c.engine in ("trl", "unsloth") for c in field_):
        field_.insert(0, Contestant("checkpoint", "", [{"name": ""}]))
    outs = []
    try:
        outs = [start(c, number, arguments, folder) for number, c in enumerate(field_)]
        for number, contestant in enumerate(field_):
            if contestant.engine not in UNTIMED and time.time() < until:
                wait_for_imports(field_, outs, arguments.limit)
            log = log_of(contestant, number, arguments)
            for told in let_run(contestant, outs[number], log, arguments.limit, until):
                row = {"engine": contestant.engine, "base": contestant.base, "name": contestant.label, **told}
                if row["engine"] != "checkpoint" or "failed" in row:
                    rows.append(row)
                row["since_s"] = round(time.monotonic() - began, 1)
                print(json.dumps({k: v for k, v in row.items() if k not in ("versions", "all_s")}), flush=True)
                judge(rows)
                arguments.out.write_text(json.dumps({"model": arguments.model, "rows": rows}, indent=1))
    finally:
        for contestant in field_:
            if contestant.process and contestant.process.poll() is None:
                contestant.process.kill()
                contestant.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    lines = table(rows)
    arguments.out.write_text(json.dumps({"model": arguments.model, "rows": rows, "table": lines}, indent=1))
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
