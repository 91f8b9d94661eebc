"""Malformed rows are counted and written down by place and reason, and too many of them stop the preparation."""

import json
from contextlib import suppress

import pytest

from medtune.data.quarantine import Quarantine
from medtune.errors import DataError, StorageError


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_malformed_row_is_written_with_its_place_and_reason(tmp_path):
    path = tmp_path / "run" / "quarantine.jsonl"
    with Quarantine(path, 0.5) as quarantine:
        quarantine.refuse("notes.jsonl-3", "notes.jsonl:3", "column 'output' is null")
    assert lines_of(path) == [
        {"row_id": "notes.jsonl-3", "place": "notes.jsonl:3", "reason": "column 'output' is null"}
    ]


def test_no_file_is_made_without_malformed_rows_and_an_earlier_one_is_removed(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    path.write_text("of an earlier preparation")
    with Quarantine(path, 0.0) as quarantine:
        quarantine.accept()
        quarantine.check()
    assert not path.exists()


def test_an_earlier_file_is_replaced_and_not_continued(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    for _ in range(2):
        with Quarantine(path, 1.0) as quarantine:
            for number in range(2500):  # more than is kept in memory
                quarantine.refuse(str(number), "p", "r")
    assert [line["row_id"] for line in lines_of(path)] == [str(number) for number in range(2500)]


def test_what_was_found_is_written_when_the_preparation_fails(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    with suppress(RuntimeError), Quarantine(path, 1.0) as quarantine:
        quarantine.refuse("a", "p", "r")
        raise RuntimeError
    assert len(lines_of(path)) == 1


@pytest.mark.parametrize(("good", "bad", "stops"), [(99, 1, False), (98, 2, True), (0, 1, True), (0, 0, False)])
def test_a_larger_share_than_the_limit_stops(good, bad, stops):
    quarantine = Quarantine(None, 0.01)
    quarantine.accept(good)
    for number in range(bad):
        quarantine.refuse(str(number), "p", "r")
    if stops:
        with pytest.raises(DataError, match=f"{bad} of {good + bad} rows are malformed"):
            quarantine.check()
    else:
        quarantine.check()


def test_the_commonest_reason_and_the_file_are_named(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    with Quarantine(path, 0.1) as quarantine:
        for reason in ("rare", "common", "common"):
            quarantine.refuse("a", "p", reason)
        with pytest.raises(DataError) as caught:
            quarantine.check()
    assert "most often (2 times): common" in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_set_of_bad_rows_stops_long_before_its_end():
    quarantine = Quarantine(None, 0.01)
    with suppress(DataError):
        for number in range(10_000):
            quarantine.refuse(str(number), "p", "r")
    assert quarantine.rows < 200


def test_bad_rows_at_the_beginning_alone_do_not_stop():
    quarantine = Quarantine(None, 0.01)
    for number in range(90):
        quarantine.refuse(str(number), "p", "r")
    quarantine.accept(10_000)
    quarantine.check()


def test_a_row_that_was_good_at_first_is_counted_once():
    quarantine = Quarantine(None, 1.0)
    quarantine.accept()
    quarantine.revoke("a", "it cannot be encoded")
    assert (quarantine.rows, quarantine.count) == (1, 1)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("a file where the folder should be")
    quarantine = Quarantine(tmp_path / "run" / "quarantine.jsonl", 1.0)
    quarantine.refuse("a", "p", "r")
    with pytest.raises(StorageError, match=r"cannot write '.*quarantine\.jsonl'"):
        quarantine.__exit__(None, None, None)
