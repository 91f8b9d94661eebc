"""What several GPUs are worth, and what they survive: training over 1, 2, 4 and 8 processes, beside one of them.

Usage: python benchmarks/scale.py OUT.json [--only TEXT ...] [--gpus 1 2 4 8] [--budget SECONDS] [--times N] [--work DIR] [--tiny]
       python benchmarks/scale.py OUT.json --list | --table

Each case is one or more real runs, started as `medtune launch` starts them; its name says what it measures:

- ``speed-SCHEME-accA-xN``: Starling's shape, 16 x 512 tokens a GPU and pass, A passes an update, N GPUs: tokens per second, from
  the median of the records after the first quarter, and the share of N times what one GPU does (once that is measured);
- ``equal-SCHEME-xN``: losses of N GPUs beside those of one, for the same rows in each update;
- ``fsdp-SCHEME-xN``: a shape of 70 billion parameters (``--layers`` of its 80), sharded: memory of each GPU as the driver tells it
  and of the first process as torch does, beside the plan's, and tokens per second;
- ``fault-KIND-xN``: on SmolLM2's shape, ``--times`` times, at a random update after the first checkpoint: ``kill`` (SIGKILL of a
  process), ``stop`` (a process that hangs; SIGCONT never comes), ``term`` (SIGTERM to all), ``resume`` (the same, and the rest is trained
  on another number of GPUs), ``oom`` (another program takes memory of one GPU, and train.on_oom=halve). Survived is a run that,
  started again until it ends with 0, has each update once and the losses of an undisturbed one;
- ``answers-xN``: the base's answers on the validation rows, scored on N GPUs, beside those of one.

Cases that OUT.json holds already are not run again, so that the table can be made in pieces: ``--only`` takes those whose
name holds one of the texts, and none is begun after ``--budget`` seconds. Bases are random and made once in ``--work`` (14.5 GB for
Starling's shape; 141 GB for all layers of the large one). ``--tiny`` takes small shapes, and processes on a CPU by gloo.
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import torch
from generated_rows import generate_rows

from medtune import MedTuner, ModelSpec
from medtune.data.tokenizer import load_tokenizer, save_tokenizer
from medtune.plugins.host import create_host

ON_GPU = torch.cuda.is_available()
GO_ON = 75
SHAPES = {
    "starling": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8},
    "smollm2": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3},
    "70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
}  # fmt: skip
LENGTH, ROWS = 512, 16
SCHEMES = ("nf4", "none", "fp8")
FAULTS = ("kill", "stop", "term", "resume", "oom")
LOSS_BOUNDS = {"fp32": 1e-5, "bf16": 0.02}
"""Most that two losses of one update may differ by: of rounding in another order."""
PATIENCE = 240
"""Seconds in which a run has to notice that one of its processes hangs."""


class Place:
    """Where bases, rows and runs of the measurement lie, and what it was asked for."""

    def __init__(self, options):
        self.options = options
        self.folder = Path(options.work)
        self.folder.mkdir(parents=True, exist_ok=True)

    def base(self, shape):
        """Return the folder of a random base, made where it is absent."""
        shape = "tiny" if self.options.tiny else shape
        folder = self.folder / f"base-{shape}"
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            layers = self.options.layers if shape == "70b" else None
            write_base(folder, {**SHAPES[shape], **({"num_hidden_layers": layers} if layers else {})})
            (folder / "whole").touch()
        return folder

    def rows(self, count):
        """Return a file of at least ``count`` generated rows of each source."""
        path = self.folder / f"rows-{count}.jsonl"
        if not path.exists():
            lines = (json.dumps(row) for row in generate_rows("train", count, 0, source_names="medtuned"))
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def run(self, name):
        """Return a folder for a run, empty."""
        folder = self.folder / "runs" / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder


def write_base(folder, shape):
    """Write a Llama-like base with random weights in bf16 (fp32 where it is tiny), a file a layer, and the demo's tokenizer."""
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    demo = create_host(autoload=False).find("bundle", "demo").spec.model.path
    dtype = torch.bfloat16 if shape["hidden_size"] > SHAPES["tiny"]["hidden_size"] else torch.float32
    vocabulary = 32_002 if dtype is torch.bfloat16 else 2_048
    config = LlamaConfig(vocab_size=vocabulary, max_position_embeddings=8192, **shape)
    with torch.device("meta"):
        tensors = LlamaForCausalLM(config).state_dict()
    folder.mkdir(parents=True)
    pool = (
        torch.randn(2**27 if dtype is torch.bfloat16 else 2**20, generator=torch.Generator().manual_seed(0)) * 0.02
    ).to(dtype)
    files, index, draws = {}, {}, random.Random(0)
    for name, tensor in tensors.items():
        part = name.split(".")
        files.setdefault(part[2] if part[1] == "layers" else "rest", []).append((name, tensor))
    for number, (_part, members) in enumerate(files.items()):
        file = f"model-{number + 1:05}-of-{len(files):05}.safetensors"
        filled = {name: _filled(tensor, pool, draws) for name, tensor in members}
        save_file(filled, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(filled, file)
    size = sum(t.numel() for t in tensors.values()) * dtype.itemsize
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": index})
    )
    config.dtype = dtype
    config.architectures = ["LlamaForCausalLM"]
    save_tokenizer(tokenizer := load_tokenizer(ModelSpec(path=demo)), folder)
    config.eos_token_id, config.bos_token_id, config.pad_token_id = (
        tokenizer.eos_token_id,
        tokenizer.bos_token_id,
        tokenizer.pad_token_id,
    )
    config.save_pretrained(folder)


def _filled(tensor, pool, draws):
    if tensor.dim() == 1:
        return torch.ones(tensor.shape, dtype=pool.dtype)
    times = math.ceil(tensor.numel() / pool.numel())
    start = draws.randrange(pool.numel())
    flat = torch.cat([pool[start:], pool[:start]]).repeat(times)[: tensor.numel()]
    return flat.reshape(tensor.shape).contiguous()


class Trained:
    """A run that ended: its exit code, records, peak of each GPU by the driver, and the end of what it said."""

    def __init__(self, folder, code, said, peaks):
        self.folder, self.code, self.said, self.peaks = folder, code, said, peaks

    @property
    def records(self):
        """Lines of the log, the last of each update."""
        log = self.folder / "log.jsonl"
        lines = log.read_text("utf-8").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def losses(self):
        """Loss by update."""
        return {record["step"]: record["loss"] for record in self.records if "loss" in record}

    @property
    def speed(self):
        """Tokens per second: median of the records after the first quarter."""
        speeds = [record["tokens_per_second"] for record in self.records if "tokens_per_second" in record]
        return statistics.median(speeds[len(speeds) // 4 :])

    @property
    def result(self):
        """What the record of the run says of its training."""
        return json.loads((self.folder / "run.json").read_text("utf-8")).get("result", {})

    def require(self):
        """Raise where it did not end well."""
        if self.code != 0:
            raise RuntimeError(f"ended with {self.code}: {self.said[-400:]}")
        return self


def spec_of(place, case, folder, **train):
    """Write the spec of a case's run, and return its path."""
    tiny, processes = place.options.tiny, case["processes"]
    rows = (2 if tiny else ROWS) * case.get("global", processes)
    fields = {
        "per_device_batch_size": rows,
        "gradient_accumulation_steps": case.get("accumulation", 1),
        "max_length": 128 if tiny else LENGTH,
        "max_steps": place.options.steps,
        "lr_scheduler_type": "constant",
        "logging_steps": 1 if case.get("exact") else 10 if place.options.steps >= 40 else 2,
        "save_strategy": "no",
        **train,
    }
    needed = rows * fields["gradient_accumulation_steps"] * fields["max_steps"]
    source = place.rows(20 if tiny else max(200, math.ceil(needed * LENGTH / 250 / 8)))
    tuner = MedTuner.from_defaults(
        model=str(place.base(case["shape"])),
        data={"source": str(source), "validation_fraction": 0.05},
        quant={"scheme": case.get("scheme", "none")},
        lora={"dropout": 0.0 if case.get("exact") else 0.05},
        train=fields,
        eval=case.get("eval", {"enabled": False}),
        output_dir=str(folder),
    )
    if case.get("parallel"):
        tuner = MedTuner(tuner.spec.model_copy_with(train=tuner.spec.train.model_copy_with(parallel=case["parallel"])))
    path = place.folder / f"{folder.name}.json"
    path.write_text(json.dumps(tuner.spec.model_dump(mode="json", exclude_unset=True)))
    return path, tuner


def start(spec, processes):
    """Start a run as `medtune launch --torchrun` does, in a group of its own."""
    train = ["-m", "medtune", "train", str(spec)]
    launcher = ["-m", "medtune.workflow.launch.torchrun", "--standalone", "--nproc-per-node", str(processes)]
    launcher += ["--max-restarts", "0", "--signals-to-handle", "SIGTERM,SIGINT,SIGUSR1", "--shutdown-timeout", "100"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    words = [sys.executable, *(launcher if processes > 1 else []), *train]
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `finish`
    process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
    return process, said


def finish(process, said, folder, limit):
    """Wait for a run, and return it; one that is over its time is killed whole."""
    with peaks_of_gpus() as peaks:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = f"killed after {limit:.0f} s"
            process.wait()
    said.seek(0)
    text = said.read().decode(errors="replace")
    said.close()
    return Trained(folder, code, text, peaks)


def train(place, case, name, **fields):
    """Train a case's run from the beginning, and return it."""
    folder = place.run(name)
    spec, _tuner = spec_of(place, case, folder, **fields)
    process, said = start(spec, case["processes"])
    return finish(process, said, folder, place.options.limit).require()


@contextlib.contextmanager
def peaks_of_gpus():
    """Inside, the most memory that each GPU held is noted, in MiB as the driver tells it; nothing without GPUs."""
    peaks, ended = {}, threading.Event()

    def look():
        words = ["nvidia-smi", "--query-gpu=index,memory.used", "--format=csv,noheader,nounits"]
        while not ended.wait(0.5):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            for line in done.stdout.splitlines():
                index, used = (int(part) for part in line.split(","))
                peaks[index] = max(peaks.get(index, 0), used)

    watch = threading.Thread(target=look, daemon=True)
    if ON_GPU:
        watch.start()
    try:
        yield peaks
    finally:
        ended.set()
        if ON_GPU:
            watch.join()


def speed(place, case, _known):
    """Return tokens per second of a case, and what the plan says of it."""
    run = train(place, case, case["name"])
    return {
        "tokens_per_second": round(run.speed),
        "loss": run.records[-1].get("loss"),
        "peak_gib": run.result.get("peak_memory_gib"),
    }


def equal(place, case, _known):
    """Return how far losses of several processes are from those of one, for the same rows in each update."""
    several = train(place, case, case["name"])
    one = train(place, {**case, "processes": 1, "global": case["processes"]}, f"{case['name']}-one")
    worst = max(abs(several.losses[step] - loss) for step, loss in one.losses.items())
    same = several.losses.keys() == one.losses.keys()
    bound = LOSS_BOUNDS["bf16" if ON_GPU else "fp32"]
    return {"updates": len(one.losses), "most_apart": worst, "ok": same and worst <= bound, "bound": bound}


def fsdp(place, case, _known):
    """Return memory of each process beside the plan's, and tokens per second."""
    folder = place.run(case["name"])
    spec, tuner = spec_of(place, case, folder)
    plan = tuner.plan(gpus=case["processes"])
    process, said = start(spec, case["processes"])
    run = finish(process, said, folder, place.options.limit).require()
    measured, planned = run.result.get("peak_memory_gib"), plan.allocated_gib
    return {
        "tokens_per_second": round(run.speed),
        "planned_gib": planned,
        "peak_gib": measured,
        "error": planned / measured - 1 if planned and measured else None,
        "driver_gib": {index: round(mib / 1024, 2) for index, mib in sorted(run.peaks.items())},
        "planned_driver_gib": plan.peak_gib,
        "loss": run.records[-1].get("loss"),
    }


def answers(place, case, _known):
    """Return whether the base's answers on several processes are those of one."""
    case = {**case, "eval": {"enabled": True, "rows_per_source": 4 if place.options.tiny else 20, "every": "never"}}
    several = train(place, case, case["name"], max_steps=2)
    one = train(place, {**case, "processes": 1, "global": case["processes"]}, f"{case['name']}-one", max_steps=2)
    texts = [
        [
            json.loads(line)["prediction"]
            for line in (run.folder / "evaluation" / "predictions-base.jsonl").read_text().splitlines()
        ]
        for run in (several, one)
    ]
    equal_ones = sum(a == b for a, b in zip(*texts, strict=True))
    return {"answers": len(texts[1]), "equal": equal_ones, "ok": equal_ones == len(texts[1])}


def fault(place, case, _known):
    """Do a thing to a run as often as is asked, and count the runs that survive it."""
    fields = {"save_strategy": "steps", "save_steps": 3, "on_oom": "halve"}
    whole = train(place, {**case, "exact": True}, f"{case['name']}-whole", **fields)
    outcomes = [survive(place, {**case, "exact": True}, whole, fields, number) for number in range(place.options.times)]
    good = [outcome for outcome in outcomes if outcome["ok"]]
    return {"survived": len(good), "of": len(outcomes), "ok": len(good) == len(outcomes), "each": outcomes}


def survive(place, case, whole, fields, number):
    """Disturb one run, start it again until it ends, and return what came of it."""
    folder, draws = place.run(f"{case['name']}-{number}"), random.Random(f"{case['name']}-{number}")
    spec, _tuner = spec_of(place, case, folder, **fields)
    at, rank = draws.randint(3, max(3, place.options.steps - 2)), draws.randrange(case["processes"])
    hog = take_memory(rank, case) if case["kind"] == "oom" else None
    process, said = start(spec, case["processes"])
    if hog is None:
        until = time.monotonic() + place.options.limit
        while not reached(folder, at) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        disturb(case["kind"], process, rank)
    run = finish(process, said, folder, PATIENCE if case["kind"] == "stop" else place.options.limit)
    first, tries, processes = run.code, 0, case["processes"]
    if hog is not None:
        hog.kill()
    while run.code != 0 and tries < 3:
        tries += 1
        processes = (1 if processes > 1 else 2) if case["kind"] == "resume" else processes
        process, said = start(spec, processes)
        run = finish(process, said, folder, place.options.limit)
    bound = LOSS_BOUNDS["bf16" if ON_GPU else "fp32"]
    steps = [record["step"] for record in run.records if "loss" in record]
    apart = max((abs(run.losses.get(step, math.inf) - loss) for step, loss in whole.losses.items()), default=math.inf)
    wanted = (0,) if case["kind"] == "oom" else (0, GO_ON)  # 0: it was over before it was disturbed
    is_good = run.code == 0 and steps == sorted(set(whole.losses)) and apart <= bound and first in wanted
    return {
        "at": at,
        "rank": rank,
        "exit": first,
        "tries": tries,
        "apart": apart,
        "ok": is_good,
        **({} if is_good else {"said": run.said[-300:]}),
    }


def reached(folder, step):
    """Whether a run has done an update, and has a checkpoint."""
    log = folder / "log.jsonl"
    done = log.read_text().count('"loss"') if log.exists() else 0
    return done >= step and any((folder / "checkpoints").glob("step-*"))


def disturb(kind, process, rank):
    """Do to a run what the case is of."""
    if process.poll() is not None:
        return
    if kind in ("term", "resume"):
        process.send_signal(signal.SIGTERM)
        return
    found = workers(process.pid)
    if found:
        os.kill(found[rank % len(found)], signal.SIGKILL if kind == "kill" else signal.SIGSTOP)


def workers(parent):
    """Return the processes that train, below the launcher."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    trains = [int(pid) for pid in pids if b"medtune\0train" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return trains or [parent]


def take_memory(rank, case):
    """Start a program that takes memory of a GPU until less is left than the run was planned for."""
    if not ON_GPU:
        raise RuntimeError("memory of a GPU cannot be taken on a machine without one")
    code = (
        "import sys, time, torch\n"
        f"torch.cuda.set_device({rank})\n"
        "free, _all = torch.cuda.mem_get_info()\n"
        f"kept = torch.empty(free - int({case['left_gib']} * 2**30), dtype=torch.uint8, device='cuda')\n"
        "print('taken', flush=True)\ntime.sleep(3600)\n"
    )
    hog = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    hog.stdout.readline()
    return hog


MEASURE = {"speed": speed, "equal": equal, "fsdp": fsdp, "fault": fault, "answers": answers}


def cases_of(options):
    """Return all cases, those that matter most first."""
    counts = [count for count in options.gpus if count <= (options.processes or 1)]
    several = [count for count in counts if count > 1]
    schemes = ("none",) if options.tiny else SCHEMES
    found = [
        {"measure": "speed", "shape": "starling", "scheme": scheme, "accumulation": times, "processes": count, "name": f"speed-{scheme}-acc{times}-x{count}"}
        for times in (1, 4)
        for scheme in schemes
        for count in counts
    ]  # fmt: skip
    for count in several:
        found += [
            {
                "measure": "equal",
                "shape": "starling",
                "scheme": s,
                "processes": count,
                "exact": True,
                "name": f"equal-{s}-x{count}",
            }
            for s in schemes
        ]
        found += [
            {"measure": "fault", "shape": "smollm2", "kind": kind, "processes": count, "left_gib": options.left_gib, "name": f"fault-{kind}-x{count}"}
            for kind in FAULTS
        ]  # fmt: skip
        found += [
            {
                "measure": "fsdp",
                "shape": "70b",
                "scheme": s,
                "parallel": "fsdp",
                "processes": count,
                "name": f"fsdp-{s}-x{count}",
            }
            for s in (("none",) if options.tiny else ("none", "fp8"))
        ]
        found.append({"measure": "answers", "shape": "smollm2", "processes": count, "name": f"answers-x{count}"})
    return [case for case in found if not options.only or any(text in case["name"] for text in options.only)]


def table(found):
    """Return the table as text, with shares of linear."""
    lines = [f"{'case':<28}{'tokens/s':>12}{'of linear':>11}{'GiB':>8}{'plan':>7}  outcome"]
    for name, figures in found.items():
        alone, processes = found.get(f"{name.rpartition('-x')[0]}-x1", {}), int(name.rpartition("-x")[2])
        rate, one = figures.get("tokens_per_second"), alone.get("tokens_per_second")
        share = f"{rate / one / processes:.1%}" if rate and one and name.startswith("speed") else ""
        peak, error = figures.get("peak_gib"), figures.get("error")
        told = figures.get("failed") or {
            "equal": f"losses at most {figures.get('most_apart', math.nan):.2g} apart in {figures.get('updates')} updates",
            "fault": f"survived {figures.get('survived')} of {figures.get('of')}",
            "answers": f"{figures.get('equal')} of {figures.get('answers')} answers equal",
        }.get(name.partition("-")[0], "")
        mark = {True: "", False: "NOT OK: ", None: ""}[figures.get("ok")]
        gib, plan = (f"{peak:.2f}" if peak else ""), (f"{error:+.1%}" if error is not None else "")
        lines.append(f"{name:<28}{rate or '':>12}{share:>11}{gib:>8}{plan:>7}  {mark}{told}")
    return "\n".join(lines)


def parsed():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--gpus", nargs="*", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--left-gib", type=float, default=4.0, help="what is left of one GPU for fault-oom")
    parser.add_argument("--budget", type=float, default=480)
    parser.add_argument("--limit", type=float, default=420, help="seconds of one run")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "medtune-scale")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    options.processes = torch.cuda.device_count() if ON_GPU else max(options.gpus) if options.tiny else 1
    options.steps = options.steps or (8 if options.tiny else 200)
    return options


def main():
    """Measure what is asked for and not yet known."""
    options, begun = parsed(), time.monotonic()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    cases = cases_of(options)
    if options.list or options.table:
        print(
            "\n".join(f"{case['name']}{'  done' if case['name'] in found else ''}" for case in cases)
            if options.list
            else table(found)
        )
        return 0
    place, left = Place(options), [case for case in cases if case["name"] not in found]
    for case in left:
        if time.monotonic() - begun > options.budget:
            print("the budget is spent; the same command goes on", flush=True)
            break
        try:
            figures = MEASURE[case["measure"]](place, case, found)
        except Exception as error:  # noqa: BLE001 - one case must not cost the others
            figures = {"failed": f"{type(error).__name__}: {str(error)[:300]}", "ok": False}
            print("\n".join(traceback.format_exc().splitlines()[-4:]), file=sys.stderr, flush=True)
        found[case["name"]] = figures
        options.out.write_text(json.dumps(found, indent=1))
        print(json.dumps({"case": case["name"], **figures}), flush=True)
    print(table(found))
    return int(any(figures.get("ok") is False for figures in found.values()))


if __name__ == "__main__":
    sys.exit(main())
