"""Runs of the tiny base that are trained once and exported often."""

import subprocess
import warnings

import pytest

from medtune import MedTuner
from medtune.workflow.exporting import reload
from medtune.workflow.exporting.readers import by_llama_cpp, by_transformers
from medtune.workflow.run import Run

READERS = {"by_transformers": by_transformers, "by_llama_cpp": by_llama_cpp}

QUICK = {"max_length": 192, "num_train_epochs": None, "max_steps": 12, "learning_rate": 5e-3}


@pytest.fixture(scope="session")
def trained(base, rows, tmp_path_factory):
    """Return what trains a run of the tiny base once for each scheme and adapter, and opens it."""
    made = {}

    def of(scheme="none", model=None, **lora):
        key = (scheme, str(model), *sorted(lora.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("runs") / "run"
            spec = MedTuner.from_defaults(
                model=str(model or base), data={"source": "rows", "validation_fraction": 0.3}, quant={"scheme": scheme},
                lora={"r": 4, **lora}, train=QUICK, eval={"rows_per_source": 4, "max_new_tokens": 4, "enabled": False},
                output_dir=str(made[key]),
            ).spec  # fmt: skip
            MedTuner(spec, rows=rows).train()
        return Run.open(made[key])

    return of


@pytest.fixture(scope="session")
def near():
    """Return what lets the readers run in this process; that they need no medtune is shown where they have their own."""
    elsewhere = subprocess.run

    def run(command, **options):
        program = str(command[2]) if len(command) > 2 else ""
        reader = READERS.get(program.rpartition("/")[2].removesuffix(".py"))
        if reader is None:
            return elsewhere(command, **options)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as their processes do
                reader.main(command[3])
        except Exception as error:  # noqa: BLE001 - a process would end with it
            return subprocess.CompletedProcess(command, 1, "", f"{type(error).__name__}: told")
        return subprocess.CompletedProcess(command, 0, "", "")

    return lambda patch: patch.setattr(reload.subprocess, "run", run)


@pytest.fixture
def here(near, monkeypatch):
    """Let the readers run in this process, which is seconds quicker."""
    near(monkeypatch)
