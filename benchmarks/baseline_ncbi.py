"""What an adapter is worth beside a dictionary, few-shot prompts and an encoder, on tagged rows of your own.

Usage: python benchmarks/baseline_ncbi.py BASE TRAIN.jsonl DEV.jsonl [--encoder DIR] [--out DIR] [--few-shot K] [--set K=V]...

BASE is a folder such as SmolLM2-135M's; the rows have MedTuned's columns (instruction, input, output, source). The adapter is
trained with the values that were measured on NCBI-disease (r 64, alpha 128, 1e-3, 6 epochs of 8 x 1,024) unless ``--set`` says
otherwise, the encoder with medtune's defaults (``--encoder-set``). All development rows are scored. One JSON object is printed:
per system the strict and lenient span F1 with the strict one's interval, the verdict of the paired test, and seconds.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from medtune import MedTuner
from medtune.specfile import apply_overrides, validate_spec
from medtune.specs import EncoderSpec

FIGURES = ("span_f1_strict", "span_precision_strict", "span_recall_strict", "span_f1_lenient", "paper_compatible")
TRAIN = {
    "max_length": 1024,
    "per_device_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 1e-3,
    "num_train_epochs": 6,
    "save_strategy": "epoch",
}


def trained(options):
    """Train the adapter, or take the finished run that is there, and return it."""
    values = {
        "model": {"path": str(options.base)},
        "data": {"source": str(options.train), "validation": str(options.dev)},
        "quant": {"scheme": "none"},
        "lora": {"r": 64, "alpha": 128, "dropout": 0.05},
        "train": TRAIN,
        "eval": {"rows_per_source": 100_000, "every": "never"},
        "output_dir": str(options.out),
    }
    return MedTuner(validate_spec(apply_overrides(values, options.set))).train()


def shown(system, compared=None):
    """Return what the JSON says of one system."""
    ner = system["tasks"]["ner"]
    found = {name: ner["metrics"].get(name) for name in FIGURES}
    found |= {"interval": ner["intervals"].get("span_f1_strict"), "rows": ner["rows"]}
    return found | ({} if compared is None else {"adapter_is": compared["verdict"], "p": compared["p_value"]})


def main():
    """Train, hold against the baselines, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--encoder", help="folder or repository; none leaves the encoder out")
    parser.add_argument("--encoder-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--few-shot", type=int, default=3, metavar="K")
    parser.add_argument("--out", type=Path, default=Path("baseline-ncbi"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    begun = time.perf_counter()
    run = trained(options)
    seconds = {"run": round(time.perf_counter() - begun, 1)}
    print(f"trained and scored in {seconds['run']} s", file=sys.stderr)
    settings = {} if options.encoder is None else {"settings": EncoderSpec(**apply_overrides({}, options.encoder_set))}
    begun = time.perf_counter()
    found = run.baseline(
        options.encoder,
        few_shot=options.few_shot,
        simple=True,
        on_stage=lambda sentence: print(sentence, file=sys.stderr),
        **settings,
    )
    seconds["baselines"] = round(time.perf_counter() - begun, 1)
    folder = run.path / "evaluation"
    systems = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("base", "tuned")}
    result = {
        "rows": found["rows"],
        "systems": {name: shown(scores) for name, scores in systems.items()}
        | {
            name: shown(system, system["comparison"]["tasks"]["ner"])
            | {"seconds": system["seconds"], "seconds_per_1000": system["per_1000_rows"]["seconds"]}
            for name, system in found["systems"].items()
            if "ner" in system["tasks"]
        },
        "facts": {name: system["facts"] for name, system in found["systems"].items()},
        "published": found["published"],
        "training": {key: run.metrics[key] for key in ("steps", "train_loss", "tokens_per_second", "seconds")},
        "tuned_seconds": found["tuned"]["seconds"],
        "seconds": seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
