"""An exporter that damages the adapter leaves it as it was."""

import pytest

from medtune.workflow.exporting.kept_files import small_files_kept


@pytest.fixture
def adapter(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("README.md", "config.json", "deep/base.json", "same.txt"):
        (tmp_path / name).write_text(f"{name} as it was")
    (tmp_path / "config.json").chmod(0o640)
    return tmp_path


def test_small_files_that_are_changed_or_removed_are_put_back_though_the_exporter_fails(adapter, caplog):
    same = (adapter / "same.txt").stat()

    def damage():
        with small_files_kept(adapter):
            (adapter / "README.md").write_text("another")
            (adapter / "config.json").write_text("config.json as it is!")  # of another time only
            (adapter / "deep" / "base.json").unlink()
            raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        damage()
    for name in ("README.md", "config.json", "deep/base.json"):
        assert (adapter / name).read_text() == f"{name} as it was"
    assert (adapter / "config.json").stat().st_mode & 0o777 == 0o640
    assert (adapter / "same.txt").stat().st_ino == same.st_ino
    assert sum("put back" in record.getMessage() for record in caplog.records) == 3


def test_a_file_that_is_too_large_to_be_kept_is_left_to_its_hash(adapter):
    with (adapter / "weights.bin").open("wb") as file:
        file.truncate(5 << 20)
    with small_files_kept(adapter):
        (adapter / "weights.bin").write_bytes(b"other")
    assert (adapter / "weights.bin").read_bytes() == b"other"
