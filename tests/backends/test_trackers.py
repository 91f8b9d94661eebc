"""Trackers show what the log of a run says, once per update however often it was stopped, and nothing of the machine."""

import socket
import threading
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from medtune import LoraSpec, MedTuner, ModelSpec, RunSpec, TrainSpec
from medtune.backends.trackers.tracking import Tracking, figures_of, settings_of
from medtune.errors import RunInterruptedError, SpecError, UnknownNameError
from medtune.plugins import trackers as chosen
from medtune.plugins.host import create_host
from medtune.plugins.trackers import require_trackers
from medtune.runs.log import RunLog
from medtune.testing.tiny import tiny_base

NAMES = ["tensorboard", "mlflow", "trackio", "wandb"]
STEPS = 4
MARKS = {
    "USER": "user-of-ward-7",
    "LOGNAME": "user-of-ward-7",
    "HOSTNAME": "host-of-ward-7",
    "A_SECRET": "secret-of-ward-7",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base-of-trackers")
    tiny_base(folder)
    return folder


@pytest.fixture
def tuner(base, tmp_path):
    row = {"instruction": "Relation?", "source": "MedNLI", "output": "Neutral"}
    text = "Sentence 1: Patient {} has fever.\nSentence 2: Patient {} is ill."
    rows = [{**row, "input": text.format(n, n)} for n in range(16)]

    def make(*names):
        return MedTuner.from_defaults(
            plugins=create_host(autoload=False), model=base, data=rows, quant={"scheme": "none"}, eval={"enabled": False},
            train={"max_length": 192, "num_train_epochs": None, "max_steps": STEPS, "logging_steps": 1, "report_to": names},
            output_dir=tmp_path / "run",
        )  # fmt: skip

    return make


def from_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    settings = next(iter(events.Tensors("settings"))).tensor_proto.string_val[0].decode()
    return [(scalar.step, scalar.value) for scalar in events.Scalars("loss")], settings, None


def from_mlflow(run):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{run / 'mlflow' / 'mlflow.db'}")
    (found,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    history = client.get_metric_history(found.info.run_id, "loss")
    return [(metric.step, metric.value) for metric in history], str(found.data.params), found.info.status


def from_trackio(run):
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("medtune")
    logs = SQLiteStorage.get_logs("medtune", name)
    return [(line["step"], line["loss"]) for line in logs if "loss" in line], "", None


def wandb_records(content):
    """Yield the records of an offline file: a header of seven bytes, then LevelDB's log format in blocks of 32 KiB."""
    block, place, parts = 2**15, 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # too little is left of the block for a head
            place += block - place % block
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def from_wandb(run):
    from wandb.proto.wandb_internal_pb2 import Record

    found, settings = [], ""
    files = sorted((run / "wandb").glob("offline-run-*/run-*.wandb"))
    for file in files:
        for data in wandb_records(file.read_bytes()):
            record = Record.FromString(data)
            settings += str(record.run.config) if record.HasField("run") else ""
            items = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if "loss" in items:
                step = record.history.step.num if record.history.HasField("step") else int(items["_step"])
                found.append((step, float(items["loss"])))
    assert len({file.name for file in files}) == 1  # one run, gone on with
    return found, settings, None


READERS = {"tensorboard": from_tensorboard, "mlflow": from_mlflow, "trackio": from_trackio, "wandb": from_wandb}


def require(name):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it is tried by hand, since it would weigh on every test run")


def stopped_and_resumed(make, name):
    event = threading.Event()

    def on_step(record):
        if record["step"] == 2:
            event.set()

    with pytest.raises(RunInterruptedError):
        make(name).train(quiet=True, cancel=event, on_step=on_step)
    return make(name).train(quiet=True)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", NAMES)
def test_a_tracker_shows_a_resumed_run_as_one_with_every_line_of_its_log(tuner, tmp_path, monkeypatch, capfd, name):
    require(name)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for key, value in MARKS.items():
        monkeypatch.setenv(key, value)
    run = stopped_and_resumed(tuner, name)
    assert capfd.readouterr().out == ""
    assert [str(problem) for problem in run.verify().problems] == []
    shown, settings, state = READERS[name](run.path)
    logged = [(line["step"], line["loss"]) for line in RunLog(run.path / "log.jsonl").read() if "loss" in line]
    assert [step for step, _loss in shown] == [1, 2, 3, 4] == [step for step, _loss in logged]
    assert [loss for _step, loss in shown] == pytest.approx([loss for _step, loss in logged], rel=1e-6)
    assert state in (None, "FINISHED")
    assert name == "trackio" or "lora.r" in settings
    folder = tmp_path / "trackio" if name == "trackio" else run.path / name
    # wandb keeps a log of its own here, and mlflow's own first experiment names the working directory in the local file
    files = [f for f in folder.rglob("*") if f.is_file() and not f.is_symlink() and "logs" not in f.parts]
    content = b"".join(file.read_bytes() + file.name.encode() for file in files)
    private = [*MARKS.values(), socket.gethostname(), str(tmp_path), "has fever", "MedNLI"]
    private += [] if name == "mlflow" else [str(Path.cwd())]
    assert [text for text in private if text.encode() in content] == []


def test_trackers_are_off_by_default():
    assert TrainSpec().report_to == ()


def test_a_tracker_that_is_not_named_is_told_nothing():
    begun = []
    tracker = Tracking("mine", "json", lambda *facts: begun.append(facts))
    plan = SimpleNamespace(device="cpu")
    tracker.run_started(RunSpec(), plan, "id")
    tracker.step_logged({"step": 1, "loss": 1.0}, "id")
    tracker.run_failed(ValueError(), "id")
    assert begun == []


class Kept:
    def __init__(self):
        self.told, self.states = [], []

    def log(self, figures, step):
        self.told.append((step, dict(figures)))

    def end(self, state):
        self.states.append(state)


@pytest.mark.parametrize(
    ("error", "state"),
    [(RunInterruptedError("run", 3, "cancel"), "interrupted"), (ValueError("Mr Smith"), "failed")],
)
def test_how_a_run_ended_is_told_without_its_error(error, state):
    kept = Kept()
    tracker = Tracking("mine", "json", lambda *_facts: kept)
    spec = RunSpec(train=TrainSpec(report_to=("mine",)))
    tracker.run_started(spec, SimpleNamespace(device="cpu"), "id")
    tracker.step_logged({"step": 1, "loss": 1.0, "row_ids": ["Smith"], "grad_norm": float("nan")}, "id")
    tracker.step_logged({"fast_path": "off"}, "id")
    tracker.run_failed(error, "id")
    assert kept.told == [(1, {"loss": 1.0})]
    assert kept.states == [state]


def test_the_scores_of_a_finished_run_are_told():
    kept = Kept()
    tracker = Tracking("mine", "json", lambda *_facts: kept)
    tracker.run_started(RunSpec(train=TrainSpec(report_to="mine")), SimpleNamespace(device="cpu"), "id")
    tracker.step_logged({"step": 7, "loss": 1.0}, "id")
    tracker.run_finished(
        SimpleNamespace(metrics={"scores": {"ner": {"base": 0.1, "tuned": 0.5, "metric": "f1"}}}), "id"
    )
    assert kept.told[-1] == (7, {"base/ner": 0.1, "tuned/ner": 0.5})
    assert kept.states == ["finished"]


def test_nothing_that_names_data_or_places_is_among_figures_and_settings(tmp_path):
    record = {"step": 1, "loss": 1.0, "loss_by_source": {"ward 7": 1.0}, "row_ids": ["7"], "evaluation": {"ner": 0.5}}
    assert figures_of(record) == {"loss": 1.0, "evaluation/ner": 0.5}
    spec = RunSpec(model=ModelSpec(path=tmp_path), lora=LoraSpec(r=3), output_dir=tmp_path / "run")
    found = settings_of(spec)
    assert (found["lora.r"], found["base"], found["seed"]) == (3, "a local base", 42)
    assert str(tmp_path) not in str(found)


def test_an_unknown_tracker_is_answered_with_the_nearest_one():
    host = create_host(autoload=False)
    with pytest.raises(UnknownNameError, match="no tracker named 'mlfow'; did you mean 'mlflow'"):
        require_trackers(("mlfow",), host)
    with pytest.raises(UnknownNameError, match="no tracker named 'x'"):
        MedTuner(RunSpec(train=TrainSpec(report_to=("x",))), plugins=host).plan()


def test_a_tracker_whose_package_is_missing_is_refused_before_anything_is_loaded(monkeypatch, tuner):
    monkeypatch.setattr(chosen, "find_spec", lambda _package: None)
    with pytest.raises(SpecError, match=r"needs the package 'mlflow'.*pip install 'medtune\[trackers\]'"):
        tuner("mlflow").train(quiet=True)


def test_a_plugin_brings_a_tracker_of_its_own():
    plugin, kept = ModuleType("own_tracker"), Kept()
    plugin.tracker = Tracking("own", "json", lambda *_facts: kept)
    plugin.run_started = plugin.tracker.run_started
    host = create_host([plugin], autoload=False)
    require_trackers(("own",), host)
    spec = RunSpec(train=TrainSpec(report_to=("own",)))
    host.manager.hook.run_started(spec=spec, plan=SimpleNamespace(device="cpu"), run_id="id")
    assert plugin.tracker._opened["id"][0] is kept
