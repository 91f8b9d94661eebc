import json
from datetime import datetime, timedelta

import pytest

from medtune.errors import DamagedArtifactError, SpecError, StorageError, WriteFailedError
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create({"seed": 1}, {"steps": 3}, {"data": "abc"})
    return folder


def test_a_created_run_is_planned_and_knows_its_versions(folder):
    record = folder.read()
    assert folder.state == "planned"
    assert (record["spec"], record["plan"], record["fingerprints"]) == ({"seed": 1}, {"steps": 3}, {"data": "abc"})
    assert {"python", "torch", "medtune"} - {"medtune"} <= set(record["versions"])


def test_a_run_folder_is_made_with_all_above_it(tmp_path):
    folder = RunFolder(tmp_path / "some" / "where" / "run")
    folder.create({}, {}, {})
    assert folder.state == "planned"


def test_an_update_changes_the_state_and_keeps_the_rest(folder):
    folder.update("interrupted", steps=2)
    record = folder.read()
    assert (record["state"], record["steps"], record["spec"]) == ("interrupted", 2, {"seed": 1})


def test_a_record_half_written_beside_the_old_one_is_not_seen(folder):
    (folder.path / ".run.json.staging").write_text('{"state": "fin')
    assert folder.state == "planned"
    folder.update("failed")
    assert folder.state == "failed"


def test_a_run_is_running_only_while_a_process_holds_its_lock(folder):
    with RunLock(folder.path):
        record = folder.update("running")
        assert folder.state == folder.state_by(record) == "running"
    assert folder.state == "interrupted"
    assert folder.read()["state"] == "running"  # a reader writes nothing
    (folder.path / ".lock").unlink(missing_ok=True)
    assert folder.state == "interrupted"


def test_a_record_says_when_it_was_made_and_changed_and_the_places_of_a_run_are_those_of_the_contract(folder):
    record = folder.update("running")
    assert record == folder.read()
    assert record["format"] == 1
    assert record["created"] <= record["updated"]
    assert all(datetime.fromisoformat(record[key]).utcoffset() == timedelta(0) for key in ("created", "updated"))
    places = [folder.record_path, folder.log_path, folder.checkpoints_dir, folder.adapter_dir]
    places += [folder.evaluation_dir, folder.report_path]
    names = ["run.json", "log.jsonl", "checkpoints", "adapter", "evaluation", "report.html"]
    assert places == [folder.path / name for name in names]
    assert folder.exists


def test_a_record_that_cannot_be_read_is_told_with_its_reason(tmp_path):
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StorageError, match=r"run\.json' cannot be read: Is a directory"):
        RunFolder(tmp_path).read()


def test_a_record_that_cannot_be_written_is_told_by_its_name_and_place(folder):
    folder.record_path.unlink()
    folder.record_path.mkdir()
    with pytest.raises(WriteFailedError) as told:
        folder._write({})
    assert (told.value.what, told.value.path) == ("the run record", str(folder.record_path))
    (folder.path / "file").touch()
    with pytest.raises(WriteFailedError) as told:
        RunFolder(folder.path / "file" / "run").create({}, {}, {})
    assert (told.value.what, told.value.path) == ("the run folder", str(folder.path / "file" / "run"))


def test_a_folder_without_a_record_is_no_run(tmp_path):
    assert not RunFolder(tmp_path).exists
    with pytest.raises(StorageError, match="is not a run folder"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "has no state out of planned, running, interrupted, finished, failed"),
        ('{"state": "lost", "format": 1}', "has no state out of planned"),
        ('{"state": "failed", "format": 99}', "was written by another version of medtune"),
    ],
)
def test_a_record_that_medtune_did_not_write_is_damage(folder, text, reason):
    folder.record_path.write_text(text)
    with pytest.raises(DamagedArtifactError, match=reason) as damage:
        folder.read()
    assert (damage.value.path, damage.value.file) == (str(folder.path), "run.json")


def test_a_number_that_json_lacks_is_refused_before_the_record_is_touched(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.update("running", loss=float("nan"))
    assert json.loads(folder.record_path.read_text())["state"] == "planned"


def test_a_record_holds_no_credential_and_is_sealed_as_it_is_written(folder):
    options = {"api_key": "k", "url": "https://ward:Va1ue@host?sig=Va1ue2", "pad_token": "<pad>"}
    folder.update(spec={"options": options}, note="Authorization: Bearer Va1ue3")
    assert "Va1ue" not in folder.record_path.read_text()
    masked = {"api_key": "***", "url": "https://***@host?sig=***", "pad_token": "<pad>"}
    assert folder.read()["spec"] == {"options": masked}


@pytest.mark.parametrize("name", ["adapter", "checkpoints", "evaluation", "log.jsonl", "report.html"])
def test_a_folder_of_somebody_else_s_is_not_taken_for_a_run(tmp_path, name):
    folder = RunFolder(tmp_path)
    folder.require_free()
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(SpecError, match=f"holds '{name}'"):
        folder.require_free()
    folder.create({}, {}, {})
    folder.require_free()
