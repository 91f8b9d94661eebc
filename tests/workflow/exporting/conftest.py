"""Runs of the tiny base that are trained once and exported often."""

import pytest

from medtune import MedTuner
from medtune.workflow.run import Run

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
