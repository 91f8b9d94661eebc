"""Values and runs pass to other processes: a run by its place, and its model is loaded anew there."""

import copy
import multiprocessing
import os
import pickle
import types
from concurrent.futures import ProcessPoolExecutor

import pytest

from medtune import EncodedExample, Example, MedTuner, hookimpl
from medtune.errors import StorageError
from medtune.planning.make_plan import make_plan
from medtune.plugins.contracts import Completion, GenerationRequest, Prediction, TaskScore, TrainResult
from medtune.plugins.host import create_host
from medtune.workflow.run import Run
from medtune.workflow.training import train


def again(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301


@pytest.fixture(scope="module")
def values(base):
    spec = MedTuner.from_defaults(model=str(base), lora={"r": 4}, quant={"scheme": "none"}).spec
    messages = [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": "yes"}]
    example = Example(messages, source="MedNLI", row_id="7")
    return {
        "spec": spec,
        "part": spec.train,
        "plan": make_plan(spec, create_host(autoload=False)),
        "example": example,
        "encoded": EncodedExample([1, 2], [0, 1], "MedNLI", "7"),
        "request": GenerationRequest([1, 2], 5),
        "completion": Completion("yes", [1], truncated=False),
        "prediction": Prediction(example, "yes"),
        "score": TaskScore("accuracy", 3, {"accuracy": 0.5}, {"accuracy": (0.1, 0.9)}, {}),
        "result": TrainResult(3, 1.5, 10.0, 2.0, 0.1),
    }


@pytest.mark.parametrize("way", [again, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
@pytest.mark.parametrize(
    "name",
    ["spec", "part", "plan", "example", "encoded", "request", "completion", "prediction", "score", "result"],
)
def test_values_are_copied_whole(values, name, way):
    found = way(values[name])
    assert type(found) is type(values[name])
    assert found == values[name]


def test_a_copied_spec_stays_frozen_and_knows_what_was_set(values):
    found = again(values["spec"])
    assert found.model_fields_set == values["spec"].model_fields_set
    with pytest.raises(ValueError, match="frozen"):
        found.seed = 3


def test_a_tuner_passes_with_its_spec_and_rows(values):
    tuner = MedTuner(values["spec"], rows=[{"a": "b"}])
    found = again(tuner)
    assert found.spec == tuner.spec
    assert found._rows == [{"a": "b"}]
    tuner.check()  # finds the plugins, which do not pickle
    assert again(tuner).spec == tuner.spec


def answer_of(run):
    return run.spec.lora.r, run.state, run.generate([{"role": "user", "content": "Fever?"}], 4), os.getpid()


class Observer:
    """A plugin that was passed as an object."""

    @hookimpl
    def run_failed(self, spec, error):
        """Observe."""


def test_a_run_passes_to_a_process_that_answers_with_it(asked, tmp_path, monkeypatch):
    train(asked())
    run = Run.open(tmp_path / "run", plugins=[Observer()])
    here = answer_of(run)
    assert run._loaded is not None
    found = again(run)
    assert found._loaded is None
    assert found.metrics == run.metrics
    assert any(isinstance(plugin, Observer) for plugin in found._host.manager.get_plugins())
    monkeypatch.chdir(tmp_path)
    relative = Run.open("run")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(answer_of, relative).result()
    assert there[:3] == here[:3]
    assert there[3] != here[3]


def test_a_copy_of_a_run_whose_folder_is_gone_says_so(asked, tmp_path):
    train(asked())
    packed = pickle.dumps(Run.open(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="is not a run folder"):
        pickle.loads(packed)  # noqa: S301


def test_a_module_that_was_passed_as_a_plugin_is_imported_again(asked, tmp_path, monkeypatch):
    train(asked())
    module = types.ModuleType("own_observer_module")
    (tmp_path / "own_observer_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = again(Run.open(tmp_path / "run", plugins=[module]))
    names = [name for name, plugin in found._host.manager.list_name_plugin() if plugin is not None]
    assert "own_observer_module" in names
