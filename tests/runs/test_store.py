import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from medtune.errors import DamagedArtifactError, DiskFullError, UnsafeArtifactError, WriteFailedError
from medtune.machine.disk_room import bytes_to_keep, expected_bytes
from medtune.runs.manifest import MANIFEST
from medtune.runs.store import CheckpointStore, publish


def content(step):
    def write(folder: Path) -> None:
        (folder / "tensors.safetensors").write_bytes(os.urandom(5000))
        (folder / "state.json").write_text(json.dumps({"step": step}))
        (folder / "nested").mkdir()
        (folder / "nested" / "empty.txt").touch()

    return write


def no_pause(_seconds):
    pass


def store_of(path, keep=2, **options):
    return CheckpointStore(path / "checkpoints", keep, pause=no_pause, **options)


def names(store):
    store.settle()
    return sorted(path.name for path in store.root.iterdir())


def test_a_saved_checkpoint_is_the_newest_whole_one(tmp_path):
    store = store_of(tmp_path)
    path = store.save(7, content(7))
    found, passed = store.newest_whole()
    assert found is not None
    assert (found.path, found.step, passed) == (path, 7, [])
    assert path == tmp_path / "checkpoints" / "step-000007"


def test_no_checkpoint_is_found_before_the_first_save(tmp_path):
    assert store_of(tmp_path).newest_whole() == (None, [])


def test_rotation_keeps_the_newest_by_number_not_by_name(tmp_path):
    store = store_of(tmp_path)
    for step in (999_999, 1_000_000, 1_000_001):
        store.save(step, content(step))
    assert names(store) == ["step-1000000", "step-1000001"]


def test_a_pinned_checkpoint_stays_beside_the_newest(tmp_path):
    store = store_of(tmp_path, keep=1)
    store.pinned = 1
    for step in (1, 2, 3):
        store.save(step, content(step))
    assert names(store) == ["step-000001", "step-000003"]


def test_a_checkpoint_is_expected_to_be_as_large_as_the_largest_so_far(tmp_path):
    store = store_of(tmp_path, expected_bytes=100)
    path = store.save(1, content(1))
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.name != MANIFEST)
    assert store.expected_bytes == size > 5000
    store.save(2, lambda folder: (folder / "state.json").write_text("{}"))
    assert store.expected_bytes == size


@pytest.mark.parametrize(
    ("leftover", "what"), [(".staging-step-000009", "a checkpoint"), ("step-000001", "the rotation of checkpoints")]
)
def test_a_folder_that_cannot_be_deleted_is_told_by_its_place(tmp_path, monkeypatch, leftover, what):
    store = store_of(tmp_path, keep=1)
    (store.root / leftover).mkdir(parents=True)

    def refuse(path, **_):
        raise OSError(errno.EACCES, "refused")

    monkeypatch.setattr(shutil, "rmtree", refuse)

    def save():
        store.save(10, content(10))
        store.settle()

    with pytest.raises(WriteFailedError, match="permission denied") as told:
        save()
    assert (told.value.what, told.value.path) == (what, str(store.root))


def test_room_is_kept_for_one_checkpoint_more_and_the_adapter():
    assert expected_bytes(1000) == 12_000 + 2**20  # a value and two moments in fp32, and what stands beside them
    assert bytes_to_keep(1000, 3, resuming=False) == 5 * expected_bytes(1000)
    assert bytes_to_keep(1000, 3, resuming=True) == 2 * expected_bytes(1000)


def test_a_replacement_that_cannot_be_renamed_into_place_brings_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "adapter"
    publish(target, lambda folder: (folder / "a.json").write_text("1"))
    rename = Path.rename

    def refuse(path, other):
        if path.name.startswith(".staging-"):
            raise OSError(errno.EACCES, "refused")
        return rename(path, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(WriteFailedError, match=r"folder 'adapter'.*permission denied"):
        publish(target, lambda folder: (folder / "a.json").write_text("2"), pause=no_pause)
    assert (target / "a.json").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_damaged_newest_checkpoint_is_passed_over_by_name_of_its_file(tmp_path):
    store = store_of(tmp_path)
    store.save(1, content(1))
    newest = store.save(2, content(2))
    store.settle()
    (newest / "state.json").write_text("{}")
    found, passed = store.newest_whole()
    assert found is not None
    assert found.step == 1
    assert [(p.path, "state.json" in p.reason) for p in passed] == [(newest, True)]


def test_a_checkpoint_of_an_abandoned_later_step_goes_with_the_next_save(tmp_path):
    store = store_of(tmp_path, keep=1)
    store.save(20, content(20))
    store.save(10, content(10))
    assert names(store) == ["step-000010"]


def test_older_checkpoints_stay_when_the_new_one_does_not_read_back(tmp_path):
    store = store_of(tmp_path, keep=1)
    store.save(1, content(1))
    store.settle()

    class Rotten(CheckpointStore):
        @staticmethod
        def verify(path):
            raise DamagedArtifactError(str(path), "state.json", "was changed")

    rotten = Rotten(store.root, 1, pause=no_pause)
    rotten.save(2, content(2))
    with pytest.raises(WriteFailedError, match=r"state\.json.*does not read back"):
        rotten.settle()
    assert names(store) == ["step-000001", "step-000002"]


def test_a_failing_write_leaves_the_old_checkpoint_and_no_rest(tmp_path):
    store = store_of(tmp_path)
    store.save(1, content(1))

    def full(folder):
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteFailedError, match="the disk is full"):
        store.save(2, full)
    assert names(store) == ["step-000001"]


def test_a_passing_error_is_retried_in_a_fresh_folder(tmp_path):
    attempts = []

    def flaky(folder):
        attempts.append(sorted(folder.iterdir()))
        (folder / "a.json").write_text("{}")
        if len(attempts) == 1:
            raise OSError(errno.EIO, "Input/output error")

    store = store_of(tmp_path)
    store.verify(store.save(1, flaky))
    assert attempts == [[], []]


class SafetensorError(Exception):
    pass


@pytest.mark.parametrize("kind", [SafetensorError, Exception])
def test_a_full_disk_told_by_a_library_in_rust_is_a_storage_error(tmp_path, kind):
    def write(_folder):
        raise kind("I/O error: No space left on device (os error 28)")

    with pytest.raises(WriteFailedError, match="the disk is full"):
        store_of(tmp_path).save(1, write)


def test_an_error_that_is_not_the_systems_is_not_reworded(tmp_path):
    def write(_folder):
        raise ValueError("not (os error 28)")

    with pytest.raises(ValueError, match="not"):
        store_of(tmp_path).save(1, write)


def test_too_little_free_space_is_told_before_anything_is_written(tmp_path):
    store = store_of(tmp_path, expected_bytes=2**60)
    with pytest.raises(DiskFullError, match="MiB of free disk space"):
        store.save(1, content(1))
    assert not store.root.exists()


@pytest.mark.parametrize("name", ["training_args.bin", "optimizer.pt", "rng.pth", "x.pkl"])
def test_a_pickle_is_refused(tmp_path, name):
    with pytest.raises(UnsafeArtifactError, match="pickle"):
        store_of(tmp_path).save(1, lambda folder: (folder / name).touch())


def test_a_link_is_refused(tmp_path):
    with pytest.raises(UnsafeArtifactError, match="link"):
        store_of(tmp_path).save(1, lambda folder: (folder / "x.json").symlink_to("/etc/hostname"))


def test_saving_a_step_again_replaces_it(tmp_path):
    store = store_of(tmp_path)
    store.save(5, lambda folder: (folder / "a.json").write_text("1"))
    path = store.save(5, lambda folder: (folder / "a.json").write_text("2"))
    assert (path / "a.json").read_text() == "2"
    assert names(store) == ["step-000005"]


def test_a_replacement_cut_short_between_its_renames_is_taken_back(tmp_path):
    store = store_of(tmp_path)
    path = store.save(5, content(5))
    path.rename(store.root / ".replaced-step-000005")
    found, _passed = store.newest_whole()
    assert found is not None
    assert found.path == path


def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path):
    store = store_of(tmp_path)
    store.save(1, content(1))
    store.settle()
    for name in (".staging-step-000002", ".discarded-step-000000"):
        shutil.copytree(store.root / "step-000001", store.root / name)
    (store.root / ".staging-step-000002" / MANIFEST).unlink()
    store.save(3, content(3))
    assert names(store) == ["step-000001", "step-000003"]


def test_a_checkpoint_under_the_name_of_another_step_is_found_out(tmp_path):
    store = store_of(tmp_path)
    saved = store.save(1, content(1))
    store.settle()  # the rotation in the background would look at the renamed folder
    saved.rename(store.root / "step-000009")
    found, passed = store.newest_whole()
    assert found is None
    assert "belongs to another folder" in passed[0].reason


def test_a_published_folder_is_whole_and_replaces_the_old_one(tmp_path):
    target = tmp_path / "run" / "adapter"
    publish(target, lambda folder: (folder / "a.json").write_text("1"))
    publish(target, lambda folder: (folder / "b.json").write_text("2"))
    assert sorted(path.name for path in target.iterdir()) == [MANIFEST, "b.json"]
    assert [path.name for path in target.parent.iterdir()] == ["adapter"]


def test_publishing_leaves_what_others_stage_in_the_same_place(tmp_path):
    other = tmp_path / ".staging-merged"
    other.mkdir()
    publish(tmp_path / "adapter", content(1))
    assert other.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_clear_sentence(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(WriteFailedError, match="permission denied"):
        store_of(tmp_path).save(1, content(1))
