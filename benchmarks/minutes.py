"""Minutes from a command to a tuned score: medtune against the same recipe by trl, peft and generate, and unsloth where installed.

Usage: python benchmarks/minutes.py OUT.json --base DIR --data TRAIN.jsonl --validation DEV.jsonl [--rows-per-source N]
       python benchmarks/minutes.py OUT.json --model starling [--rows N] [--steps N]
       python benchmarks/minutes.py OUT.json --tiny
       [--engines medtune,trl,unsloth] [--scheme none|nf4|fp8] [--limit SECONDS] [--set KEY=VALUE]...

With ``--base`` (such as SmolLM2-135M's folder) and rows in MedTuned's columns the recipe is the one measured on NCBI-disease: r 64,
alpha 128, learning rate 1e-3, 6 epochs of 8 x 1,024. With ``--model`` the base has that shape (see shapes.py) and random weights,
the rows are generated, and the recipe is the default bundle's on 16 x 512, over ``--steps`` updates. ``--tiny`` takes the demo's base
and a few rows of the demo's, also on a CPU.

Every engine is a process of its own, timed from its start to its end, imports included. All of them load the base from the same
folder, train on the same rows with the same answers supervised, and answer the same validation rows greedily, with as many tokens
at most. medtune packs, proves its loss, scores the base as well and writes its report; a peer packs by trl, trains, answers
in batches sorted by length, and scores the tuned model alone. A peer runs in its fastest settings, each a row, and where none
of them fits in one that saves memory. All answers are scored by medtune's scorer, with intervals.

OUT.json is rewritten after each run: minutes by engine, by stage where known, score with its interval, training loss, peak memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from medtune import MedTuner
from medtune.data.examples import training_examples
from medtune.data.prepare import validation_examples
from medtune.data.quarantine import Quarantine
from medtune.evaluation.scoring import find_task
from medtune.plugins.host import create_host
from medtune.specfile import apply_overrides
from medtune.workflow.score_files import score_files

HERE = Path(__file__).parent
NCBI = {
    "lora": {"r": 64, "alpha": 128, "dropout": 0.05},
    "train": {
        "max_length": 1024,
        "per_device_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-3,
        "num_train_epochs": 6.0,
    },
    "eval": {"rows_per_source": 1000, "max_new_tokens": 768},
}
STARLING = {
    "lora": {"r": 8, "alpha": 16, "dropout": 0.05},
    "train": {"max_length": 512, "per_device_batch_size": 16, "gradient_accumulation_steps": 1},
    "eval": {"rows_per_source": 100, "max_new_tokens": 128},
}
TINY = {
    "lora": {"r": 8, "alpha": 16, "dropout": 0.0},
    "train": {
        "max_length": 256,
        "per_device_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_steps": 8,
        "learning_rate": 3e-3,
    },
    "eval": {"rows_per_source": 2, "max_new_tokens": 24},
}
SETTINGS = {
    "medtune": [{"name": "as planned"}],
    "trl": [
        {"name": "wrapped, Liger", "packing": "wrapped", "liger": True, "recompute": False, "batch": 256},
        {"name": "bfd, Liger, flex attention", "packing": "bfd", "liger": True, "recompute": False, "batch": 256}
        | {"attention": "flex_attention"},
        {"name": "bfd", "packing": "bfd", "liger": False, "recompute": False, "batch": 128, "otherwise": True},
        {"name": "bfd, recompute", "packing": "bfd", "liger": False, "recompute": True, "batch": 32, "otherwise": True},
    ],
    "unsloth": [
        {"name": "wrapped", "packing": "wrapped", "liger": False, "recompute": False, "batch": 256},
        {"name": "wrapped, its recompute", "packing": "wrapped", "liger": False, "recompute": True, "batch": 64}
        | {"otherwise": True},
    ],
}
"""Settings of each engine, the fastest first; those marked "otherwise" run where none before them did. Rows cut into blocks
("wrapped") let samples see each other, which is the peers' fast form; "bfd" keeps them whole and apart."""


def recipe(options, folder):
    """Return the values of the spec, with base and rows in place."""
    if options.tiny:
        demo = create_host(autoload=False).find("bundle", "demo").spec
        base, values = demo.model.path, TINY
        rows = write_rows(folder / "train.jsonl", "train", 8), write_rows(folder / "dev.jsonl", "test", 4)
    elif options.base:
        base, values, rows = str(options.base), NCBI, (options.data, options.validation)
    else:
        base, values = str(random_base(options, folder)), STARLING
        values = {**values, "train": {**values["train"], "max_steps": options.steps}}
        rows = (
            write_rows(folder / "train.jsonl", "train", options.rows),
            write_rows(folder / "dev.jsonl", "test", values["eval"]["rows_per_source"]),
        )
    values = {
        **values,
        "model": {"path": str(base)},
        "data": {"source": str(rows[0]), "validation": str(rows[1])},
        "quant": {"scheme": options.scheme},
        "train": {**values["train"], "save_strategy": "no"},
        "eval": {**values["eval"], "every": "never"},
    }
    if options.rows_per_source:
        values["eval"]["rows_per_source"] = options.rows_per_source
    return apply_overrides(values, options.set)


def write_rows(path, split, count):
    """Write generated rows in MedTuned's columns, ``count`` of each source, and return where."""
    from generated_rows import generate_rows

    rows = (json.dumps(row) for row in generate_rows(split, count, 0, source_names="medtuned"))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def random_base(options, folder):
    """Write a base of the chosen shape and return its folder."""
    from shapes import choose
    from whole_run import write_base

    choose(options.model)
    place = options.checkpoint or folder / "base"
    write_base(place, tiny=False)
    return place


def order_of(values, folder):
    """Write the rows as every peer takes them, and return what an engine is told: its peers' recipe is the spec's."""
    tuner = MedTuner.from_defaults(**{**values, "output_dir": str(folder / "unused")})
    spec, host = tuner.spec, create_host(autoload=False)
    trained = training_examples(spec.rows, host, Quarantine(None, 1.0), spec.seed, part="learned")
    asked = validation_examples(spec, host)
    files, tasks = {}, host.all("task")
    for name, examples in (("train", trained), ("asked", asked)):
        files[name] = folder / f"peers-{name}.jsonl"
        told = [
            {"messages": list(map(dict, e.messages)), "source": e.source, "task": task_of(e, tasks)} for e in examples
        ]
        files[name].write_text("\n".join(map(json.dumps, told)) + "\n", encoding="utf-8")
    return {
        "spec": values,
        "settled": spec.model_dump(mode="json"),
        **{name: str(file) for name, file in files.items()},
    }


def task_of(example, tasks):
    """Return the name of the task that scores an example, None for none."""
    found = find_task(example, tasks)
    return None if found is None else found.name


def absent(engine, setting):
    """Return the row of an engine that is not installed, None for one that is."""
    needed = {"trl": ["trl"], "unsloth": ["unsloth", "unsloth_zoo", "trl"]}.get(engine, [])
    needed = [*needed, *(["liger_kernel"] if setting.get("liger") else [])]
    missing = [name for name in needed if find_spec(name) is None]
    row = {"engine": engine, "setting": setting["name"], "failed": f"not installed: {', '.join(missing)}"}
    return row if missing else None


def let_run(engine, setting, order, folder, limit):
    """Run one engine in a process of its own and return its figures."""
    out = folder / f"{engine}-{setting['name'].replace(' ', '-').replace(',', '')}"
    out.mkdir()
    told = json.dumps({**order, "engine": engine, "setting": setting, "out": str(out)})
    log = out / "log.txt"
    began = time.perf_counter()
    with log.open("w") as file:
        try:
            command = [sys.executable, str(HERE / "minutes_engine.py")]
            code = subprocess.run(
                command, input=told, text=True, stdout=file, stderr=file, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = f"stopped after {limit:g} s"
    minutes = (time.perf_counter() - began) / 60
    row = {"engine": engine, "setting": setting["name"], "minutes": round(minutes, 3)}
    if code != 0 or not (out / "figures.json").exists():
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        return {**row, "failed": f"{code}: {last[:300]}"}
    return {**row, **json.loads((out / "figures.json").read_text()), **scores_of(out / "predictions.jsonl")}


def scores_of(file):
    """Return each task's main figure with its interval."""
    found = score_files(file, None, (), create_host(autoload=False).all("task"))["tasks"]
    scores = {}
    for task, score in found.items():
        metric = score.get("primary") or next(iter(score["metrics"]))
        scores[task] = {"metric": metric, "value": score["metrics"][metric], "interval": score["intervals"].get(metric)}
        scores[task]["rows"] = score["rows"]
    return {"scores": scores}


def judge(rows):
    """Add how many times as long as medtune each peer took, and whether the intervals of the scores meet; in place."""
    own = next((row for row in rows if row["engine"] == "medtune" and "failed" not in row), None)
    for row in rows:
        if own is None or row is own or "failed" in row:
            continue
        row["times_medtune"] = round(row["minutes"] / own["minutes"], 2)
        row["scores_agree"] = {
            task: meet(score["interval"], own["scores"][task]["interval"])
            for task, score in row["scores"].items()
            if task in own["scores"]
        }


def meet(one, other):
    """Whether two intervals meet; None where one is not defined."""
    return None if not one or not other else one[0] <= other[1] and other[0] <= one[1]


def parse():
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", type=Path, help="folder of a real base")
    parser.add_argument("--data", type=Path, help="training rows in MedTuned's columns")
    parser.add_argument("--validation", type=Path, help="rows to score on, likewise")
    parser.add_argument(
        "--model", default="starling", help="shape of a base with random weights, where there is no --base"
    )
    parser.add_argument("--checkpoint", type=Path, help="folder for that base; kept when given")
    parser.add_argument("--rows", type=int, default=1500, help="generated rows of each source")
    parser.add_argument("--steps", type=int, default=200, help="updates on generated rows")
    parser.add_argument("--rows-per-source", type=int, help="validation rows of each source")
    parser.add_argument("--engines", default="medtune,trl,unsloth")
    parser.add_argument("--scheme", default="none", choices=["none", "nf4", "fp8"])
    parser.add_argument("--limit", type=float, default=3600, help="most seconds of one process")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe of all engines"
    )
    parser.add_argument("--tiny", action="store_true", help="the demo's base and a few rows, also on a CPU")
    options = parser.parse_args()
    if options.base and not (options.data and options.validation):
        parser.error("--base needs --data and --validation")
    return options


def main():
    """Let the engines run one after the other."""
    options, rows = parse(), []
    with tempfile.TemporaryDirectory(prefix="medtune-minutes-") as name:
        folder = Path(name)
        order = {**order_of(recipe(options, folder), folder), "tiny": options.tiny}
        for engine in options.engines.split(","):
            for setting in SETTINGS[engine]:
                if setting.get("otherwise") and any(r["engine"] == engine and "failed" not in r for r in rows):
                    continue
                row = absent(engine, setting) or let_run(engine, setting, order, folder, options.limit)
                rows.append(row)
                judge(rows)
                print(json.dumps(row), flush=True)
                options.out.write_text(json.dumps({"recipe": order["spec"], "rows": rows}, indent=1, default=str))


if __name__ == "__main__":
    main()
