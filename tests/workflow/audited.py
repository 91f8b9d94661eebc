"""A base that can learn by heart, rows that nothing can be learnt from, and runs on both: what an audit has something to find in."""

import json
import random

from safetensors.torch import load_file, save_file

from medtune import MedTuner
from medtune.testing.tiny import tiny_base

_WORDS = (
    "abdomen",
    "cough",
    "fever",
    "liver",
    "renal",
    "sodium",
    "pulse",
    "chest",
    "graft",
    "ulcer",
    "lesion",
    "biopsy",
)
_LOUDER = {"lm_head.weight": 25.0, "model.embed_tokens.weight": 25.0}


def learning_base(folder):
    """Make a random base whose logits can leave each other: at its own scale no adapter gets them far apart."""
    tiny_base(folder)
    file = folder / "model.safetensors"
    weights = load_file(file)
    for name, times in _LOUDER.items():
        weights[name] *= times
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def rows_file(folder, count, *, seed=0, words=4, source="ward"):
    """Write rows whose answers are drawn: to know one is to remember it."""
    draw = random.Random(seed)
    lines = []
    for number in range(count):
        question, answer = (" ".join(draw.choices(_WORDS, k=k)) for k in (5, words))
        lines.append(json.dumps({"instruction": f"Note {number}: {question}", "output": answer, "source": source}))
    file = folder / f"rows-{seed}.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def trained(base, rows, folder, *, epochs, weight=1, canaries=None, **train):
    """Return a run that was trained on half of the rows, the others held out."""
    return MedTuner.from_defaults(
        model=str(base),
        data={
            "source": str(rows),
            "validation_fraction": 0.5,
            "weight": weight,
            "canaries": canaries or {},
        },
        tasks=[{"source": "*", "kind": "free-text"}],
        quant={"scheme": "none"},
        lora={"r": 64, "alpha": 64, "dropout": 0},
        train={
            "max_length": 256,
            "per_device_batch_size": 3,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": epochs,
            "learning_rate": 3e-3,
            "optim": "adamw_torch",
            "save_strategy": "no",
            **train,
        },
        eval={"enabled": False},
        output_dir=str(folder),
    ).train()
