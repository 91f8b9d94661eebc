"""Two trained runs on one tiny base, and a server of them in a thread."""

import pytest
from serving_client import served

from medtune import MedTuner
from medtune.plugins.host import create_host
from medtune.serving.limits import Limits
from medtune.testing.tiny import tiny_base

VERDICTS = ("Entailment", "Neutral", "Contradiction")


@pytest.fixture(scope="session")
def rows():
    """Rows of mixed lengths."""
    text = "Sentence 1: Patient {} has {}fever.\nSentence 2: Patient {} is ill."
    return [
        {
            "instruction": "Relation?",
            "source": "MedNLI",
            "input": text.format(n, "very high " * (n % 7), n),
            "output": VERDICTS[n % 3],
        }
        for n in range(48)
    ]


@pytest.fixture(scope="session")
def runs(tmp_path_factory, rows):
    """Name -> folder of a run."""
    root = tmp_path_factory.mktemp("runs")
    base = root / "tiny"
    tiny_base(base)
    for seed, name in enumerate(("alpha", "beta")):
        spec = MedTuner.from_defaults(
            plugins=create_host(autoload=False),
            model=str(base),
            data={"source": "rows", "validation_fraction": 0.5},
            quant={"scheme": "none"},
            lora={"r": 4 * (seed + 1)},
            train={"max_length": 256, "num_train_epochs": None, "max_steps": 2, "learning_rate": 0.02},
            eval={"rows_per_source": 24, "max_new_tokens": 16, "every": "never"},
            seed=seed,
            output_dir=str(root / name),
        ).spec
        MedTuner(spec, rows=rows).train()
    return {name: root / name for name in ("alpha", "beta")}


@pytest.fixture(scope="session")
def client(runs):
    """A server of both runs, few slots so that requests wait for one."""
    with served(runs, Limits(slots=8, tokens=2048, queue=64)) as found:
        yield found
