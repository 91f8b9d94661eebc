"""Where rows lie: files and data sets are told apart, and folders give the files of a split."""

import os
from pathlib import Path

import pytest

from medtune.data.rows import data_fingerprint, is_local, read_rows
from medtune.data.sources.paths import files_left_out, local_files, named_split, names_beside, splits_of
from medtune.data.sources.reading import Reading
from medtune.errors import DataError, StorageError


@pytest.mark.parametrize(
    ("source", "local"),
    [
        ("nobody/nothing", False),
        ("nobody/set.v2", False),
        ("./nobody/nothing", True),
        ("/nobody/nothing", True),
        ("~/nothing", True),
        ("nobody/rows.jsonl", True),
        ("nobody/rows.csv.gz", True),
        ("nobody/*.csv", True),
        ("json", True),
        ("a/b/c", True),
    ],
)
def test_files_and_data_sets_on_the_hub_are_told_apart(source, local):
    assert is_local(source) is local


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")
    return str(folder)


def names(source, split="train"):
    return [f.name for f in local_files(source, split)]


def test_the_files_of_a_folder_belong_to_the_split_they_are_named_by(tmp_path):
    source = make(tmp_path, "train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "val.jsonl", "sub/test/x.jsonl")
    assert splits_of(source) == {"train", "validation", "test"}
    assert names(source) == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]
    assert names(source, "validation") == names(source, "dev") == ["val.jsonl"]
    assert names(source, "test") == ["sub/test/x.jsonl"]
    with pytest.raises(DataError, match=r"has no split 'extra' \(it has 'test', 'train', 'validation'\)"):
        names(source, "extra")


def test_words_that_begin_like_a_split_are_none(tmp_path):
    source = make(tmp_path, "testosterone.jsonl", "valve.jsonl", "development.jsonl", "trains.jsonl")
    assert splits_of(source, "validation") == set()
    assert len(names(source)) == 4


def test_a_split_may_have_a_name_of_its_own(tmp_path):
    source = make(tmp_path, "gold.jsonl", "silver.jsonl", "train.jsonl")
    assert names(source, "gold") == ["gold.jsonl"]


def test_hidden_files_and_what_stands_beside_rows_are_left_out(tmp_path):
    source = make(
        tmp_path, "a.jsonl", ".hidden.jsonl", ".cache/b.jsonl", "quarantine.jsonl", "dataset_info.json", "cache-1.arrow",
        "state.json", "notes.txt",
    )  # fmt: skip
    assert names(source) == ["a.jsonl"]


def test_hidden_odd_and_empty_files_are_named_among_those_left_out(tmp_path):
    source = make(tmp_path, "a.jsonl", ".hidden.jsonl", ".git/x/b.jsonl", ".git/y.txt", "quarantine.jsonl", "sub/n.txt")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "far").symlink_to(tmp_path / "sub")
    (tmp_path / "linked.txt").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "none.jsonl").touch()
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert files_left_out(source) == {
        "far": "a link to a folder, which is not followed",
        "gone.jsonl": "a link that leads nowhere",
        "linked.txt": "of a kind that is not read",
        "none.jsonl": "empty",
        "pipe.jsonl": "a pipe or device",
        "sub/n.txt": "of a kind that is not read",
        ".git": "hidden",
        ".hidden.jsonl": "hidden",
    }
    reading = Reading()
    assert len(list(read_rows(source, reading=reading))) == 1
    assert reading.notes.left_out == files_left_out(source)


def test_a_folder_that_datasets_saved_is_read(tmp_path):
    import datasets

    parts = {"train": [{"a": "x"}, {"a": "y"}], "validation": [{"a": "z"}]}
    datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in parts.items()}).save_to_disk(tmp_path / "saved")
    for split, rows in parts.items():
        assert [dict(r.values) for r in read_rows(str(tmp_path / "saved"), split=split)] == rows


def test_files_of_one_name_in_several_folders_have_ids_of_their_own(tmp_path):
    source = make(tmp_path, "a/rows.jsonl", "b/rows.jsonl")
    for place in (source, f"{source}/*/rows.jsonl"):
        assert [r.row_id for r in read_rows(place)] == ["a/rows.jsonl-1", "b/rows.jsonl-1"]


def test_a_single_file_has_no_split_and_no_subset(tmp_path):
    make(tmp_path, "rows.jsonl")
    with pytest.raises(DataError, match="has no split 'test'"):
        read_rows(f"{tmp_path}/rows.jsonl", split="test")
    with pytest.raises(DataError, match=r"data\.subset is 'en'"):
        read_rows(f"{tmp_path}/rows.jsonl", subset="en")


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make(tmp_path, "rows.jsonl")
    assert [r.row_id for r in read_rows("~/rows.jsonl")] == ["rows.jsonl-1"]
    assert data_fingerprint("~/rows.jsonl")


def test_a_file_that_goes_away_is_a_storage_error(tmp_path):
    make(tmp_path, "rows.jsonl")
    rows = read_rows(f"{tmp_path}/rows.jsonl")
    Path(f"{tmp_path}/rows.jsonl").unlink()
    with pytest.raises(StorageError, match=r"cannot read '.*rows\.jsonl': No such file"):
        next(rows)


def test_a_mapping_of_splits_is_not_taken_for_rows():
    import datasets

    with pytest.raises(DataError, match="of a DatasetDict pass one split"):
        list(read_rows(datasets.DatasetDict({"train": datasets.Dataset.from_list([{"a": 1}])})))


def test_streams_of_datasets_are_read_in_batches():
    import datasets

    stream = datasets.IterableDataset.from_generator(lambda: ({"a": i} for i in range(2500)))
    assert [r.values["a"] for r in read_rows(stream)] == list(range(2500))


def test_names_of_validation_rows_are_the_same_for_files_folders_and_arrays(tmp_path):
    beside = names_beside("train.jsonl")
    assert names_beside("training-rows.csv") == [
        f"{name}-rows.csv" for name in ("validation", "valid", "val", "dev", "devel")
    ]
    assert names_beside("holdout.jsonl") == names_beside("trainees.jsonl") == []
    for name in beside:
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text('{"a": 1}\n')
        (tmp_path / name / name).write_text('{"a": 1}\n')
        assert splits_of(str(tmp_path / name)) == {"train", "validation"}
        assert named_split(name.partition(".")[0]) == "validation"
