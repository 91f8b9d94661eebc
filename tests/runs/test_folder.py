import json

import pytest

from medtune.errors import DamagedArtifactError, StorageError
from medtune.runs.folder import RunFolder


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


def test_an_update_changes_the_state_and_keeps_the_rest(folder):
    folder.update("interrupted", steps=2)
    record = folder.read()
    assert (record["state"], record["steps"], record["spec"]) == ("interrupted", 2, {"seed": 1})


def test_a_record_half_written_beside_the_old_one_is_not_seen(folder):
    (folder.path / ".run.json.staging").write_text('{"state": "fin')
    assert folder.state == "planned"
    folder.update("running")
    assert folder.state == "running"


def test_a_folder_without_a_record_is_no_run(tmp_path):
    assert not RunFolder(tmp_path).exists
    with pytest.raises(StorageError, match="is not a run folder"):
        RunFolder(tmp_path).read()


@pytest.mark.parametrize("text", ["{", "[]", '{"state": "lost", "format": 1}', '{"state": "failed", "format": 99}'])
def test_a_record_that_medtune_did_not_write_is_damage(folder, text):
    folder.record_path.write_text(text)
    with pytest.raises(DamagedArtifactError, match=r"run\.json"):
        folder.read()


def test_a_number_that_json_lacks_is_refused_before_the_record_is_touched(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.update("running", loss=float("nan"))
    assert json.loads(folder.record_path.read_text())["state"] == "planned"
