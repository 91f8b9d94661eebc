"""What scores during training cost, and whether they stay below its memory: Starling's shape, random weights, nf4.

Usage: python benchmarks/interim.py OUT.json [--rows 64] [--steps 12] [--recompute none] [--tiny]

Trains the same steps twice on one GPU with the real trainer, 16 x 512 tokens a step: without scores, then with one after
every fourth step. A score answers prompts of 90 to 260 random ids with up to 128 tokens each, held to the memory that the
peak of training leaves, as in a run. Said of both: peaks of what torch allocates and reserves, median seconds of a step. Of
each score: the memory allowed, its seconds, tokens per second, and how much longer the step after it took than a median
step (it records its passes anew). ``--tiny`` runs a small model, also on a CPU, where no memory is bounded.
"""

import argparse
import gc
import itertools
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import torch
from memory import TINY

from medtune import RunSpec
from medtune.backends.generate import TransformersGenerator
from medtune.backends.peft import PeftAdapter
from medtune.backends.random_base import random_base
from medtune.backends.trl import TrlTrainer
from medtune.machine.hardware import seed_all
from medtune.plugins.contracts import GenerationRequest, Job
from medtune.plugins.host import create_host
from medtune.workflow.bench import BenchRows
from medtune.workflow.scoring import _within_training

GIB = 2**30
EVERY = 4
ON_GPU = torch.cuda.is_available()


def spec_of(arguments, *, scored):
    """Return the run: nf4, or an unquantized small model."""
    rows, length = (2, 64) if arguments.tiny else (16, 512)
    train = {
        "per_device_batch_size": rows,
        "gradient_accumulation_steps": 1,
        "max_length": length,
        "max_steps": arguments.steps,
        "recompute": arguments.recompute,
        "save_strategy": "no",
        "logging_steps": 1,
    }
    wanted = {"every": EVERY if scored else "never"}
    return RunSpec.model_validate(
        {"quant": {"scheme": "none" if arguments.tiny else "nf4"}, "train": train, "eval": wanted}
    )


def train(arguments, config, folder, *, scored):
    """Return peaks, step times and scores of a training."""
    spec, host, draw = spec_of(arguments, scored=scored), create_host(autoload=False), random.Random(0)
    seed_all(spec.seed)
    loaded = PeftAdapter().attach(random_base(config, spec.model, spec.quant), spec.lora)
    longest, vocabulary = (16, config["vocab_size"]) if arguments.tiny else (128, config["vocab_size"])
    prompts = [
        GenerationRequest([draw.randrange(3, vocabulary) for _ in range(draw.randint(90, 260))], longest)
        for _ in range(arguments.rows)
    ]
    scores, ends = [], []

    def score(step):
        began = time.perf_counter()
        bounded = _within_training(spec, host, loaded.device).eval
        answers = TransformersGenerator().generate(loaded, prompts, bounded)
        seconds = time.perf_counter() - began
        tokens = sum(len(answer.token_ids) for answer in answers)
        scores.append(
            {
                "step": step,
                "allowed_gib": None if bounded.memory_gib is None else round(bounded.memory_gib, 3),
                "seconds": round(seconds, 3),
                "tokens_per_second": round(tokens / seconds),
            }
        )
        return 0.0

    def note(_step):
        if ON_GPU:
            torch.cuda.synchronize()
        ends.append(time.perf_counter())

    rows = BenchRows(spec.train.per_device_batch_size * arguments.steps, spec.train.max_length, vocabulary, spec.seed)
    job = Job(spec, loaded, rows, folder, arguments.steps, on_step=note, on_evaluate=score if scored else None)
    result = TrlTrainer().fit(job)
    spans = [after - before for before, after in itertools.pairwise(ends)]
    plain = statistics.median(span for number, span in enumerate(spans, 2) if number > 2 and (number - 1) % EVERY)
    for found in scores:
        if found["step"] < arguments.steps:
            found["again_seconds"] = round(spans[found["step"] - 1] - found["seconds"] - plain, 3)
    peaks = {"peak_gib": round(result.peak_memory_gib, 3)}
    if ON_GPU:
        peaks["reserved_peak_gib"] = round(torch.cuda.max_memory_reserved() / GIB, 3)
    return {**peaks, "step_seconds": round(plain, 4), "path": result.fast_path, "scores": scores}


def main():
    """Train without scores and with them, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--recompute", default="none")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    config = TINY if arguments.tiny else dict(create_host().find("bundle", "starling-medtuned").model_config)
    found = {}
    for name, scored in (("without", False), ("with", True)):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = train(arguments, config, Path(folder), scored=scored)
        print(name, json.dumps(found[name]), flush=True)
        arguments.out.write_text(json.dumps(found, indent=1))
        gc.collect()
        if ON_GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    ratio = found["with"]["peak_gib"] / found["without"]["peak_gib"]
    print(f"peak with scores over peak without: {ratio:.4f}", flush=True)


if __name__ == "__main__":
    main()
