"""What a run saved is held against its manifests, and what differs is named."""

import pytest

from medtune.errors import StorageError
from medtune.runs.folder import RunFolder
from medtune.runs.store import CheckpointStore, publish
from medtune.runs.verification import Checked, verify_run


@pytest.fixture
def folder(tmp_path):
    """Return a finished run of two checkpoints and an adapter."""
    folder = RunFolder(tmp_path / "run")
    folder.create({}, {}, {})
    store = CheckpointStore(folder.checkpoints_dir, keep=2)
    for step in (5, 10):
        store.save(step, lambda path: (path / "state.json").write_text("state"))
    store.settle()
    publish(folder.adapter_dir, lambda path: (path / "adapter.safetensors").write_bytes(b"values"))
    folder.update("finished")
    return folder


def test_a_whole_run_is_whole(folder):
    names = ["adapter", "checkpoints/step-000005", "checkpoints/step-000010"]
    assert verify_run(folder) == [Checked(name, 1, "") for name in names]


def test_a_changed_file_is_named_and_the_rest_is_checked_all_the_same(folder):
    (folder.adapter_dir / "adapter.safetensors").write_bytes(b"valueZ")
    (folder.checkpoints_dir / "step-000005" / "more.json").write_text("{}")
    found = {checked.path: checked.problem for checked in verify_run(folder)}
    assert "'adapter.safetensors' was changed: its SHA-256 differs" in found["adapter"]
    assert "'more.json' is not in the manifest" in found["checkpoints/step-000005"]
    assert found["checkpoints/step-000010"] == ""


def test_a_checkpoint_under_another_name_is_no_whole_one(folder):
    (folder.checkpoints_dir / "step-000010").rename(folder.checkpoints_dir / "step-000020")
    assert "belongs to another folder" in verify_run(folder)[-1].problem


def test_a_finished_run_without_its_adapter_is_damaged_and_an_unfinished_one_is_not(folder):
    folder.adapter_dir.rename(folder.path / "elsewhere")
    assert verify_run(folder)[0].problem == "file 'MANIFEST.json' is missing: the save was cut short"
    folder.update("interrupted")
    assert [checked.path for checked in verify_run(folder)] == ["checkpoints/step-000005", "checkpoints/step-000010"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(StorageError, match="is not a run folder"):
        verify_run(RunFolder(tmp_path))
