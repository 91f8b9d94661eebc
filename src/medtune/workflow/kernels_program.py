"""Trains and answers once on one layer of random weights, so that Triton compiles what a run will launch.

``python kernels_program.py NOTE`` reads a job of ``kernels_ahead`` from its input and leaves the file NOTE when it is done, also where
that failed: it would fail again.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":  # by its path, wherever medtune lies
    sys.path.append(str(Path(__file__).parents[2]))

from medtune.machine.hardware import seed_all
from medtune.machine.owner_only import make_folder, write_text
from medtune.plugins.contracts import Adapter, GenerationRequest, Generator, Job, Trainer
from medtune.plugins.host import create_host
from medtune.specs import RunSpec
from medtune.workflow.bench import BenchRows, random_base_of

__all__ = ["do_job", "main"]

_PROMPT, _ANSWER = 64, 8
"""Tokens of a prompt and its answer: kernels do not depend on how many there are."""


def do_job(job: Mapping[str, Any]) -> None:
    """Train two updates of one micro-batch, the second by what the first one compiled, and answer as many prompts."""
    spec, config = RunSpec.model_validate(job["spec"]), job["config"]
    host, vocabulary, rows = create_host(autoload=False), int(config["vocab_size"]), spec.train.per_device_batch_size
    seed_all(spec.seed)
    with TemporaryDirectory(prefix="medtune-kernels-") as folder:
        changes = {"max_steps": 2, "num_train_epochs": None, "gradient_accumulation_steps": 1, "save_strategy": "no"}
        changes |= {"save_every_minutes": None, "max_minutes": None, "logging_steps": 1, "micro_batch": "as_written"}
        spec = spec.model_copy_with(train=spec.train.model_copy_with(**changes), output_dir=folder)
        adapter: Adapter = host.find("adapter", spec.lora.backend)
        trainer: Trainer = host.find("trainer", spec.train.backend)
        loaded = adapter.attach(random_base_of(spec, host, config), spec.lora)
        trainer.fit(
            Job(
                spec=spec,
                loaded=loaded,
                rows=BenchRows(2 * rows, spec.train.max_length, vocabulary, spec.seed),
                run_dir=Path(folder),
                total_steps=2,
                resume_from=None,
                on_log=_ignore,
                on_step=_ignore,
                stop_reason=lambda: None,
            )
        )
        generator: Generator = host.find("generator", spec.eval.backend)
        prompt = [place % (vocabulary - 3) + 3 for place in range(_PROMPT)]
        generator.generate(loaded, [GenerationRequest(prompt, _ANSWER)] * max(rows, 2), spec.eval)


def main(note: str) -> None:
    """Do the job that the input holds."""
    told = "failed"
    try:
        do_job(json.load(sys.stdin))
        told = "done"
    finally:
        make_folder(Path(note).parent)
        write_text(Path(note), told + "\n")


def _ignore(_event: Any) -> None:
    """Take an event that nobody asked for."""


if __name__ == "__main__":
    main(*sys.argv[1:])
