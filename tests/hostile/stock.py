"""What hostile cases are made from: a tiny base, a trained run with checkpoints, rows, predictions."""

import json

VERDICTS = ("Entailment", "Neutral", "Contradiction")


def rows():
    text = "Sentence 1: Patient Zyxwv {} has fever.\nSentence 2: Patient {} is ill."
    return [
        {"instruction": "Relation?", "source": "MedNLI", "input": text.format(n, n), "output": VERDICTS[n % 3]}
        for n in range(16)
    ]


def lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


def laid(below, above):
    """Return a mapping with another one laid over it."""
    found = dict(below)
    for key, value in above.items():
        found[key] = laid(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
    return found


def spec_values(stock, output_dir, **parts):
    """Return a spec of two steps on the stock's base and rows."""
    values = {
        "model": {"path": str(stock / "base")},
        "data": {"source": str(stock / "rows.jsonl"), "validation_fraction": 0.25},
        "quant": {"scheme": "none"},
        "lora": {"r": 4},
        "train": {
            "max_length": 192, "num_train_epochs": None, "max_steps": 2, "save_strategy": "steps", "save_steps": 1,
            "learning_rate": 0.02,
        },
        "eval": {"rows_per_source": 2, "max_new_tokens": 4, "every": "never"},
        "output_dir": str(output_dir),
    }  # fmt: skip
    return laid(values, parts)


def fill(laboratory):
    """Make everything once: the server has made the base, and a child of it trains."""
    stock = laboratory.stock
    (stock / "rows.jsonl").write_text(lines(rows()))
    answers = [{"task": "nli", "input": r["input"], "gold": r["output"], "prediction": r["output"]} for r in rows()]
    (stock / "predictions.jsonl").write_text(lines(answers))
    (stock / "spec.json").write_text(json.dumps(spec_values(stock, stock / "run")))
    trained = laboratory.run("train", [stock / "spec.json"], stock, "open", {}, seconds=120)
    assert trained.status == 0, trained.stderr
