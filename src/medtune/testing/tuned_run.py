"""The whole of medtune as a victim of the fault laboratory: rows, both scores, training, adapter, report."""

import hashlib
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medtune.runs.log import RunLog
from medtune.testing import tiny_run

__all__ = ["tuned_run", "warm_up"]

_TRAIN: Mapping[str, Any] = {
    "max_length": 192,
    "num_train_epochs": 2,
    "gradient_accumulation_steps": 2,
    "logging_steps": 2,
    "save_strategy": "steps",
    "save_steps": 3,
}


def warm_up() -> None:
    """Load what a whole run needs, the plugins and what they import on first use included."""
    from medtune.plugins.host import create_host

    tiny_run.warm_up()
    create_host(autoload=False)
    import_module("medtune.workflow.training")
    if find_spec("mistral_common") is not None:  # transformers imports it for the tokenizers of Mistral models
        import_module("mistral_common.tokens.tokenizers.tekken")


def tuned_run(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Start or resume ``MedTuner.train`` in ``folder / "run"``.

    Args:
        folder: where the run lies.
        options: ``base`` (folder of ``tiny_base``), ``train`` and ``eval`` (fields to change) and ``scheme``.

    Returns:
        ``digest`` of the adapter's file, ``steps``, ``log`` (without measured times) and ``scores``.
    """
    from medtune.tuner import MedTuner

    composed = MedTuner.from_defaults(
        model=options["base"],
        data={"source": "rows", "validation_fraction": 0.2},
        quant={"scheme": options.get("scheme", "none")},
        train={**_TRAIN, **options.get("train", {})},
        eval={"rows_per_source": 2, "max_new_tokens": 4, **options.get("eval", {})},
        output_dir=str(folder / "run"),
    )
    run = MedTuner(composed.spec, rows=_rows()).train()
    log = RunLog(run.path / "log.jsonl").read()
    return {
        "digest": hashlib.sha256((run.adapter_dir / "adapter_model.safetensors").read_bytes()).hexdigest(),
        "steps": run.metrics["steps"],
        "log": [{key: value for key, value in record.items() if key not in tiny_run.TIMED} for record in log],
        "scores": run.metrics["scores"],
    }


def _rows() -> list[dict[str, str]]:
    """Return rows of two sources in the columns of the default data set."""
    rows: list[dict[str, str]] = []
    for number in range(24):
        verdict = ("Entailment", "Neutral", "Contradiction")[number % 3]
        premise = f"Sentence 1: Patient {number} has fever.\nSentence 2: Patient {number} is {'ill' * (number % 2)}."
        rows.append({"instruction": "Relation?", "input": premise, "output": verdict, "source": "MedNLI"})
        labels = f"fever : {'B' if number % 2 else 'O'}\nhelps : O"
        rows.append({"instruction": "Label.", "input": "fever helps", "output": labels, "source": "NCBI-disease"})
    return rows
