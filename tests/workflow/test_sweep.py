"""A sweep: the chosen run is the same as alone, its score is told on rows that chose nothing, and nothing is done twice."""

import json
import os
import shutil
import signal

import pytest

from medtune import MedTuner, Run, RunSpec
from medtune.errors import (
    DamagedArtifactError,
    NonFiniteLossError,
    RunInterruptedError,
    RunLockedError,
    SpecChangedError,
    SpecError,
    StorageError,
)
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.workflow.progress import SilentProgress
from medtune.workflow.sweep.record import SweepRecord
from medtune.workflow.sweep.settings import Setting
from medtune.workflow.sweep.shared import pinned_settings, require_same_rows

GRID = {"lora.r": [2, 4], "train.learning_rate": [1e-3, 1e-1]}


class Events(SilentProgress):
    """Notes what it is told, and acts after some updates."""

    def __init__(self, act=None, at=()):
        self.sentences, self.updates, self._act, self._at = [], [], act, at

    def stage(self, sentence):
        self.sentences.append(sentence)

    def step(self, record):
        if set(record) == {"step", "total_steps"}:  # else what is logged of one that was told
            self.updates.append(record["step"])
            if len(self.updates) in self._at:
                self._act()


@pytest.fixture(scope="module")
def tuner(base, rows):
    more = [{**row, "input": f"{row['input']} Again.", "output": row["output"]} for row in rows]
    spec = MedTuner.from_defaults(
        model=str(base),
        data={"source": "rows", "validation_fraction": 0.4},
        quant={"scheme": "none"},
        train={
            "max_length": 192,
            "num_train_epochs": None,
            "max_steps": 8,
            "gradient_accumulation_steps": 1,
            "logging_steps": 4,
            "save_strategy": "no",
        },
        eval={"rows_per_source": 8, "max_new_tokens": 2, "every": "never"},
    ).spec
    return MedTuner(spec, rows=[*rows, *more])


@pytest.fixture(scope="module")
def done(tuner, tmp_path_factory):
    """A sweep by halving, its events, and its folder."""
    events = Events()
    return tuner.sweep(GRID, tmp_path_factory.mktemp("sweep") / "s", halving=True, progress=events), events


def adapter(folder):
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_halving_brings_four_settings_to_a_quarter_two_to_half_and_one_to_the_end(done):
    sweep, events = done
    assert events.updates == [1, 2] * 4 + [3, 4] * 2 + [5, 6, 7, 8]
    shares = [[part["share"] for part in one["parts"]] for one in sweep.record["settings"]]
    assert sorted(shares) == [[0.25], [0.25], [0.25, 0.5], [0.25, 0.5, 1.0]]
    assert sorted(one["state"] for one in sweep.record["settings"]) == ["finished", "stopped", "stopped", "stopped"]


def test_those_go_on_that_have_the_lower_loss_of_the_rows_that_choose(done):
    sweep, _events = done
    first = {one["name"]: one["parts"][0]["figure"] for one in sweep.record["settings"]}
    on = {one["name"] for one in sweep.record["settings"] if len(one["parts"]) > 1}
    assert on == set(sorted(first, key=first.__getitem__)[2:])
    name = sweep.record["winner"]["name"]
    second = {one["name"]: one["parts"][1]["figure"] for one in sweep.record["settings"] if one["name"] in on}
    assert second[name] == max(second.values()) < 0


def test_the_base_is_loaded_and_asked_once_for_all_settings(done):
    sweep, events = done
    assert sweep.record["loads"] == 1
    assert sum("scoring the base model" in sentence for sentence in events.sentences) == 1
    assert (
        events.sentences[0] == "4 settings, successive halving, chosen by loss; 1 base to load, 1 preparation of rows"
    )
    answers = {path.read_bytes() for path in sweep.path.glob("runs/*/evaluation/predictions-base.jsonl")}
    assert (len(answers), len(list(sweep.path.glob("runs/*/evaluation/base.json")))) == (1, 4)


def test_the_chosen_run_is_the_same_to_the_bit_as_one_that_was_trained_alone(done, tuner, tmp_path):
    sweep, _events = done
    alone = MedTuner(sweep.winner.spec.model_copy_with(output_dir=str(tmp_path / "alone")), rows=tuner._rows)
    run = alone.train(progress="silent")
    assert adapter(run.path) == adapter(sweep.winner.path)
    assert run.metrics["scores"] == sweep.winner.metrics["scores"]
    assert run.metrics["train_loss"] == sweep.winner.metrics["train_loss"]


def test_a_setting_that_was_given_up_is_a_run_that_can_be_continued(done, tuner, tmp_path):
    sweep, _events = done
    name = next(one["name"] for one in sweep.record["settings"] if one["state"] == "stopped")
    shutil.copytree(sweep.path / "runs" / name, tmp_path / "copy")
    spec = RunFolder(tmp_path / "copy").read()["spec"]
    again = MedTuner(tuner.spec.model_validate({**spec, "output_dir": str(tmp_path / "copy")}), rows=tuner._rows)
    events = Events()
    assert again.train(progress=events).state == "finished"
    assert events.updates[0] > 1


def test_both_figures_of_the_chosen_one_are_told_by_record_page_and_its_own_report(done):
    sweep, _events = done
    winner, sentence = sweep.record["winner"], sweep.record["sentence"]
    both = [f"{winner[side]['macro']:.3f}" for side in ("choosing", "others")]
    rows = [winner[side]["rows"] for side in ("choosing", "others")]
    assert sentence == (
        f"{winner['name']} was chosen among 4 settings by the loss of {rows[0]} validation rows, where its mean score is {both[0]}; "
        f"on the {rows[1]} other rows, which chose nothing, it is {both[1]}."
    )
    assert sum(rows) == sweep.winner.metrics["scores"]["nli"]["rows"]
    for page in (sweep.path / "sweep.html", sweep.winner.path / "report.html"):
        assert sentence in page.read_text()
    assert sweep.winner.report().read_text().count(sentence) == 1  # also where it is written anew
    assert sweep.to_json()["winner"]["others"]["tasks"]["nli"]["rows"] == rows[1]


def test_every_run_of_a_sweep_verifies(done):
    sweep, _events = done
    for one in sweep.record["settings"]:
        assert Run.open(sweep.path / "runs" / one["name"]).verify().problems == []


def test_what_a_sweep_writes_is_for_its_owner_only(done):
    sweep, _events = done
    places = [sweep.path, sweep.path / "runs", *sweep.path.glob("runs/*"), *sweep.path.glob("sweep.*")]
    assert len(places) == 8
    assert [place for place in places if place.stat().st_mode & 0o077] == []


def test_the_same_call_finds_a_finished_sweep_and_trains_nothing(done, tuner):
    sweep, _events = done
    events = Events()
    before = (sweep.path / "sweep.json").read_bytes()
    assert tuner.sweep(GRID, sweep.path, halving=True, progress=events).record == sweep.record
    assert (events.updates, events.sentences) == ([], ["this sweep is finished; nothing to do"])
    assert (sweep.path / "sweep.json").read_bytes() == before


@pytest.mark.parametrize(
    ("grid", "options", "named"),
    [
        ({"lora.r": [2, 8]}, {"halving": True}, "settings"),
        (GRID, {}, "halving, by"),
        (GRID, {"halving": True, "by": "nli"}, "by"),
    ],
)
def test_another_sweep_in_the_same_folder_is_refused(done, tuner, grid, options, named):
    sweep, _events = done
    with pytest.raises(SpecError, match=f"holds another sweep .*{named}"):
        tuner.sweep(grid, sweep.path, progress="silent", **options)


def test_a_record_that_was_changed_is_refused(done, tuner, tmp_path):
    sweep, _events = done
    for content in ("[]", "{", json.dumps({**sweep.record, "settings": [{"name": "x"}]})):
        (tmp_path / "s").mkdir(exist_ok=True)
        (tmp_path / "s" / "sweep.json").write_text(content)
        with pytest.raises(DamagedArtifactError):
            tuner.sweep(GRID, tmp_path / "s", halving=True, progress="silent")


def test_runs_without_a_record_of_their_sweep_are_left_alone(tuner, tmp_path):
    (tmp_path / "s" / "runs").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"holds runs and no sweep\.json"):
        tuner.sweep(GRID, tmp_path / "s", progress="silent")


def test_two_processes_cannot_work_on_one_sweep(tuner, tmp_path):
    with RunLock(tmp_path / "s"), pytest.raises(RunLockedError):
        tuner.sweep(GRID, tmp_path / "s", progress="silent")


@pytest.mark.parametrize(
    ("scoring", "told"), [({"enabled": False}, "eval.enabled"), ({"every": 2, "keep_best": "macro"}, "eval.keep_best")]
)
def test_a_sweep_that_could_not_choose_fairly_is_refused_before_anything_is_loaded(tuner, tmp_path, scoring, told):
    spec = tuner.spec.model_copy_with(eval=tuner.spec.eval.model_copy_with(**scoring))
    with pytest.raises(SpecError, match=told):
        MedTuner(spec, rows=tuner._rows).sweep(GRID, tmp_path / "s", progress="silent")
    assert not (tmp_path / "s").exists()


def signalled(name):
    return lambda: os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.proof
def test_a_sweep_that_was_stopped_goes_on_and_does_nothing_twice(done, tuner, tmp_path):
    """It is stopped in the midst of the second setting's first part, and of the best one's second part."""
    sweep, events = done
    updates = []
    for name, code, at in (("SIGTERM", 75, 3), ("SIGINT", 130, 6)):
        stopped = Events(signalled(name), (at,))
        with pytest.raises(RunInterruptedError) as told:
            tuner.sweep(GRID, tmp_path / "s", halving=True, progress=stopped)
        assert told.value.exit_code == code
        assert json.loads((tmp_path / "s" / "sweep.json").read_text())["state"] == "interrupted"
        updates += stopped.updates
    last = Events()
    again = tuner.sweep(GRID, tmp_path / "s", halving=True, progress=last)
    assert [*updates, *last.updates] == events.updates
    assert again.record["winner"]["name"] == sweep.record["winner"]["name"]
    assert again.record["winner"]["others"] == sweep.record["winner"]["others"]
    assert adapter(again.winner.path) == adapter(sweep.winner.path)


def test_a_setting_that_fails_is_a_row_and_the_others_go_on(tuner, tmp_path):
    grid = {"train.learning_rate": [1e-2, 1e30], "train.max_steps": [2]}
    sweep = tuner.sweep(grid, tmp_path / "s", progress=(events := Events()))
    good, bad = sweep.record["settings"]
    assert (good["state"], bad["state"], bad["error"]["type"]) == ("finished", "failed", "NonFiniteLossError")
    assert sweep.record["winner"]["name"] == good["name"]
    assert f"{bad['name']} failed: {bad['error']['message']}" in events.sentences
    assert RunFolder(sweep.path / "runs" / bad["name"]).state == "failed"
    assert "NonFiniteLossError" in (sweep.path / "sweep.html").read_text()


def test_a_sweep_of_which_nothing_comes_to_an_end_ends_with_the_error_itself(tuner, tmp_path):
    with pytest.raises(NonFiniteLossError):
        tuner.sweep({"train.learning_rate": [1e29, 1e30], "train.max_steps": [2]}, tmp_path / "s", progress="silent")
    assert json.loads((tmp_path / "s" / "sweep.json").read_text())["state"] == "failed"


@pytest.mark.proof
def test_where_the_best_fails_on_its_way_the_next_best_takes_its_place(tuner, tmp_path, done):
    """The best of the first comparison loses its record in the midst of its second part."""
    sweep, _events = done
    best = sweep.record["winner"]["name"]

    def spoil():
        (tmp_path / "s" / "runs" / best / "run.json").write_text("{}")

    again = tuner.sweep(GRID, tmp_path / "s", halving=True, progress=Events(spoil, (9,)))
    known = {one["name"]: one for one in again.record["settings"]}
    assert (known[best]["state"], known[best]["error"]["type"]) == ("failed", "DamagedArtifactError")
    assert sum(any(part["share"] == 0.5 for part in one["parts"]) for one in known.values()) == 2
    assert again.record["winner"]["name"] != best


def test_settings_that_were_trained_on_unlike_rows_are_not_compared(done, tmp_path):
    sweep, _events = done
    for one in sweep.record["settings"][:2]:
        shutil.copytree(sweep.path / "runs" / one["name"], tmp_path / one["name"])
    first, second = sorted(tmp_path.iterdir())
    require_same_rows(second)
    prints = RunFolder(first).read()["fingerprints"]
    RunFolder(first).update(fingerprints={**prints, "data": "other rows"})
    with pytest.raises(SpecChangedError, match=f"its rows are not those of '{first.name}'"):
        require_same_rows(second)


def test_a_branch_that_moves_while_a_sweep_goes_on_moves_no_setting(tmp_path):
    """The commits that it began with are kept; nothing is asked of the hub again."""
    spec = RunSpec.model_validate({"model": {"name": "some/base", "revision": "main"}, "data": {"source": "rows"}})
    record = SweepRecord(tmp_path, {"settings": [{"name": "a", "values": {}}]})
    record.values["commits"] = [{"part": "model", "repository": "some/base", "asked": "main", "commit": "0" * 40}]
    [found] = pinned_settings([Setting("a", {}, spec)], record, lambda _told: None, has_rows=True)
    assert found.spec.model.commit == "0" * 40
