"""The first stage reads rows, plans with their number, opens the record, and finds where to go on."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from medtune.data.overlap import Pair
from medtune.errors import DiskFullError, SpecChangedError, SpecError
from medtune.runs.base_fingerprint import fingerprint_as
from medtune.runs.log import RunLog
from medtune.runs.store import CheckpointStore
from medtune.workflow.overlap_file import keep_overlap
from medtune.workflow.stages.prepare import is_finished, prepare, require_own_checkpoint
from medtune.workflow.state import Start


def checkpoints(request, *steps):
    """Leave whole checkpoints, none of which is more than a file."""
    store = CheckpointStore(request.folder.checkpoints_dir, keep=9)
    for step in steps:
        store.save(step, lambda path: (path / "state.json").write_text("{}"))
    store.settle()
    return request.folder.checkpoints_dir


def test_a_new_run_has_its_rows_a_plan_of_their_number_and_a_record(asked, told, files):
    request = asked()
    state = prepare(request)
    assert request.plan.size_is_measured is False
    assert state.plan.size_is_measured is True
    assert state.plan.data["rows"] == state.prepared.report.rows == 13
    assert state.start == Start(None, 0)
    record = files("run.json")
    assert record["state"] == "planned"
    assert record["plan"]["steps"] == state.plan.steps == 2
    assert record["spec"] == request.spec_values
    assert record["fingerprints"]["data"] == state.prepared.rows.fingerprint
    assert told[0] == "reading and encoding the rows"
    assert [
        sentence for sentence in told[1:] if not sentence.startswith("warning: of 2 scored rows 2 (100%) share ")
    ] == []


def test_a_run_goes_on_from_its_newest_whole_checkpoint_and_tells_what_it_passes_over(asked, told, files):
    request = asked()
    prepare(request)
    folder = checkpoints(request, 1, 2, 3)
    (folder / "step-000003" / "state.json").write_text("{ }")
    log = RunLog(request.folder.log_path)
    for step in (1, 2, 3):
        log.append({"step": step})
    state = prepare(request)
    assert state.start == Start(folder / "step-000002", 2)
    assert told[-1].startswith("passing over checkpoint 'step-000003': file 'state.json' has 3 bytes")
    assert [passed["path"] for passed in files("run.json")["passed_over"]] == ["step-000003"]
    assert [record["step"] for record in log.read()] == [1, 2]


def test_a_run_goes_on_from_the_checkpoint_that_is_named(asked):
    request = asked()
    prepare(request)
    named = checkpoints(request, 1, 2) / "step-000001"
    again = asked(resume=str(named))
    require_own_checkpoint(again)
    assert prepare(again).start == Start(named, 1)


def test_a_checkpoint_elsewhere_is_refused(asked, tmp_path):
    prepare(asked())
    for wrong in ("atuo", str(tmp_path)):
        with pytest.raises(SpecError, match="neither auto nor never nor a checkpoint folder"):
            require_own_checkpoint(asked(resume=wrong))


def test_other_rows_and_another_spec_are_refused_before_the_record_changes(asked, rows, files):
    prepare(asked())
    before = files("run.json")
    with pytest.raises(SpecChangedError, match="the data itself changed"):
        prepare(asked(given=rows[:-1]))
    with pytest.raises(SpecChangedError, match=r"lora\.r was 8 and is now 4"):
        prepare(asked(lora={"r": 4}))
    assert files("run.json") == before


def test_a_finished_run_has_nothing_left_to_do_and_is_not_begun_again(asked):
    request = asked()
    assert is_finished(request) is False
    prepare(request)
    assert is_finished(request) is False
    request.folder.update("finished")
    assert is_finished(request) is True
    with pytest.raises(SpecError, match=r"already holds a run \(finished\)"):
        is_finished(asked(resume="never"))
    with pytest.raises(SpecChangedError, match="seed was 42 and is now 7"):
        is_finished(asked(seed=7))


def test_a_finished_run_is_not_taken_for_one_on_other_rows_or_on_another_base(asked, base, tmp_path):
    request = asked()
    prepare(request)
    request.folder.update("finished")
    with pytest.raises(SpecChangedError, match=r"data\.source was 'rows' and is now 'others\.jsonl'"):
        is_finished(asked(data={"source": "others.jsonl"}))
    moved = tmp_path / "moved"
    shutil.copytree(base, moved)
    there = asked(model={"name": request.spec.model.name, "path": str(moved)})
    assert is_finished(there) is True
    weights = moved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(SpecChangedError, match=r"the model itself changed"):
        is_finished(there)
    nowhere = {"name": request.spec.model.name, "path": str(tmp_path / "nowhere")}
    gone = replace(there, spec=there.spec.model_copy_with(model=nowhere))
    with pytest.raises(SpecChangedError, match=r"model\.path was"):
        is_finished(gone)


def test_space_is_asked_for_all_checkpoints_that_will_be_kept(asked, monkeypatch):
    monkeypatch.setattr("medtune.runs.durable.shutil.disk_usage", lambda _path: SimpleNamespace(free=0))
    needed = []
    for train, evaluation in (({}, {}), ({}, {"every": 1, "keep_best": "nli"}), ({"save_total_limit": 5}, {})):
        with pytest.raises(DiskFullError) as full:
            prepare(asked(train=train, eval=evaluation))
        needed.append(full.value.needed_bytes)
    one = needed[0] / 4
    assert needed == [4 * one, 5 * one, 7 * one]


def test_another_base_of_the_same_size_is_refused_and_an_older_record_is_not(asked, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    model = {"name": str(base), "path": str(other)}
    request = asked(model=model)
    prepare(request)
    prints = request.folder.read()["fingerprints"]
    request.folder.update(fingerprints={**prints, "model": fingerprint_as("", request.spec.model)})
    prepare(asked(model=model))
    request.folder.update(fingerprints=prints)
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(SpecChangedError, match="the model itself changed"):
        prepare(asked(model=model))


def test_pairs_of_overlapping_rows_are_kept_by_id_for_their_owner_only(tmp_path):
    path = tmp_path / "overlap.jsonl"
    keep_overlap(path, [Pair("e", "t", "input", True)])
    assert json.loads(path.read_text()) == {"evaluation": "e", "training": "t", "kind": "input", "trained": True}
    assert path.stat().st_mode & 0o777 == 0o600
    keep_overlap(path, [])
    assert not path.exists()
