"""What is decided without ray: notes, refusals, the command line."""

import json
import stat

import pytest

from medtune import MedTuner
from medtune.errors import DataError, RunInterruptedError, RunLockedError, SpecError
from medtune_ray import RayLockedError, sweep, train
from medtune_ray.cli import main
from medtune_ray.notes import Notes
from medtune_ray.worker import WorkerError, train_share


@pytest.fixture
def notes(tmp_path):
    notes = Notes(tmp_path / "run.ray")
    notes.clear()
    return notes


@pytest.fixture
def share(notes, tmp_path, monkeypatch):
    """A worker's share of a run, whose training does what it is told to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RANK", raising=False)
    spec = MedTuner.from_bundle("demo", output_dir=tmp_path / "run").spec.model_dump(mode="json", exclude_unset=True)

    def begin(*errors):
        left = list(errors)

        def trained(_tuner, **_options):
            if left:
                raise left.pop(0)

        monkeypatch.setattr(MedTuner, "train", trained)
        train_share({"spec": spec, "notes": str(notes.folder), "directory": str(tmp_path)})

    return begin


def test_the_notes_are_their_owners_alone(notes):
    notes.begin()
    notes.decide("DataError", "no rows", 3)
    notes.ask_to_stop()
    modes = {stat.S_IMODE(place.stat().st_mode) for place in notes.folder.iterdir()}
    assert (stat.S_IMODE(notes.folder.stat().st_mode), modes) == (0o700, {0o600})


def test_the_first_verdict_counts_and_a_new_call_forgets_it(notes):
    notes.decide("DataError", "no rows", 3)
    notes.decide("SpecError", "later", 2)
    assert notes.verdict == {"type": "DataError", "message": "no rows", "exit_code": 3}
    notes.begin()
    notes.begin()
    assert notes.begun == 2
    notes.clear()
    assert (notes.verdict, notes.begun) == (None, 0)


def test_a_refusal_is_kept_so_that_the_next_workers_do_not_try(share, notes):
    with pytest.raises(WorkerError, match="no usable rows"):
        share(DataError("no usable rows"))
    assert notes.verdict == {"type": "DataError", "message": "no usable rows", "exit_code": 3}
    share(AssertionError("it was tried"))
    assert notes.begun == 1


def test_a_drained_node_is_no_verdict_and_a_request_to_cancel_is(share, notes):
    with pytest.raises(WorkerError):
        share(RunInterruptedError("run", 4, "SIGTERM", 4))
    assert notes.verdict is None
    with pytest.raises(WorkerError):
        share(RunInterruptedError("run", 4, "cancel", 4))
    assert notes.verdict["exit_code"] == 75


def test_a_worker_waits_for_the_one_before_it_to_free_the_folder(share, notes):
    share(RunLockedError("run", 1, "host"))
    assert notes.verdict is None


def test_the_text_of_an_unforeseen_error_stays_in_the_worker(share, notes):
    with pytest.raises(WorkerError) as told:
        share(ValueError("Mrs Example has a fever"))
    assert "Example" not in str(told.value)
    assert "ValueError" in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__
    assert notes.verdict is None


def test_a_locked_run_is_not_given_to_ray(tmp_path, monkeypatch):
    spec = MedTuner.from_bundle("demo", output_dir=tmp_path / "run").spec
    monkeypatch.setenv("MEDTUNE_LOCKED", "1")
    with pytest.raises(RayLockedError):
        train(spec)
    assert list(tmp_path.iterdir()) == []


def test_every_combination_is_checked_before_the_first_is_trained(tmp_path):
    (tmp_path / "run.toml").write_text('bundle = "demo"\n')
    with pytest.raises(SpecError, match=r"lora\.r"):
        sweep(tmp_path / "run.toml", {"lora.r": ["4", "none at all"]}, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "wrong", [["--grid", "lora.r"], ["--grid", "lora.r=4,"], ["--grid", "lora.r=4", "--workers", "2"]]
)
def test_a_grid_that_is_none_is_refused(wrong, tmp_path, capsys):
    (tmp_path / "run.toml").write_text('bundle = "demo"\n')
    assert main([str(tmp_path / "run.toml"), *wrong, "--json"]) == SpecError.exit_code
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "SpecError"


def test_a_folder_too_long_for_the_sockets_is_refused_before_ray_is_started(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    spec = MedTuner.from_bundle("demo", output_dir=tmp_path / "run").spec
    with pytest.raises(SpecError, match="too long a path"):
        train(spec, ray_dir=tmp_path / ("long" * 10))
