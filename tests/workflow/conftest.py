"""A run of the tiny base on a few rows, as far as a test wants it to go."""

import json
from types import ModuleType

import pytest

from medtune import MedTuner, hookimpl
from medtune.planning.make_plan import make_plan
from medtune.plugins.host import create_host
from medtune.testing.tiny import tiny_base
from medtune.workflow.state import RunRequest

VERDICTS = ("Entailment", "Neutral", "Contradiction")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def rows():
    row = {"instruction": "Relation?", "source": "MedNLI"}
    text = "Sentence 1: Patient {} has fever.\nSentence 2: Patient {} is ill."
    return [{**row, "input": text.format(n, n), "output": VERDICTS[n % 3]} for n in range(16)]


@pytest.fixture
def logged():
    """Records that a plugin was told of."""
    return []


@pytest.fixture
def host(logged):
    def step_logged(record):
        logged.append(record)

    plugin = ModuleType("observer")
    plugin.step_logged = hookimpl(step_logged)
    return create_host([plugin], autoload=False)


@pytest.fixture
def told():
    """Events in order: sentences of stages, and records of steps."""
    return []


@pytest.fixture
def asked(base, rows, host, told, tmp_path):
    """Return what makes a request; parts of the spec, ``resume``, ``rows`` and a plugin may be given."""

    def make(*, resume="auto", given=None, plugin=None, **parts):
        plugins = host if plugin is None else host.extended(plugin)
        spec = MedTuner.from_defaults(
            plugins=plugins,
            model=parts.pop("model", str(base)),
            data={"source": "rows", "validation_fraction": 0.2, **parts.pop("data", {})},
            quant={"scheme": "none"},
            train={"max_length": 192, "num_train_epochs": None, "max_steps": 2, **parts.pop("train", {})},
            eval={"rows_per_source": 2, "max_new_tokens": 4, "every": "never", **parts.pop("eval", {})},
            output_dir=str(tmp_path / "run"),
            **parts,
        ).spec
        given = rows if given is None else given or None  # False: from the spec's source
        return RunRequest(spec, plugins, make_plan(spec, plugins), given, resume, told.append, told.append)

    return make


@pytest.fixture
def files(tmp_path):
    """Return the JSON file of that name in the run folder."""
    return lambda name: json.loads((tmp_path / "run" / name).read_text())
