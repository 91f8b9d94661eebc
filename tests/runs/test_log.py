import errno
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medtune.errors import DamagedArtifactError, WriteFailedError
from medtune.runs.log import RunLog

RECORDS = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]


@pytest.fixture
def log(tmp_path):
    log = RunLog(tmp_path / "log.jsonl", pause=lambda _seconds: None)
    for record in RECORDS:
        log.append(record)
    return log


def test_records_come_back_in_order_and_bit_for_bit(log):
    assert log.read() == RECORDS


def test_a_missing_log_is_empty(tmp_path):
    assert RunLog(tmp_path / "none.jsonl").read() == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_log_cut_at_any_byte_keeps_its_whole_lines_and_takes_new_ones(tmp_path, data):
    path = tmp_path / "log.jsonl"
    lines = [json.dumps(record).encode() + b"\n" for record in RECORDS]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    complete = sum(len(b"".join(lines[: n + 1])) <= cut for n in range(3))
    log = RunLog(path)
    assert log.read() == RECORDS[:complete]
    log.append({"step": 9})
    assert log.read() == [*RECORDS[:complete], {"step": 9}]


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step":1}\n' + b"x" * 200_000)
    RunLog(path).append({"step": 2})
    assert path.read_bytes() == b'{"step":1}\n{"step":2}\n'


def test_what_a_failed_attempt_left_is_cut_off_by_the_next(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "log.jsonl", pause=lambda _seconds: None)
    log.append({"step": 1})
    write, calls = os.write, []

    def torn(descriptor, line):
        calls.append(line)
        if len(calls) == 1:
            write(descriptor, line[:4])
            raise OSError(errno.EIO, "cut")
        return write(descriptor, line[:5])  # short writes are no error

    monkeypatch.setattr(os, "write", torn)
    log.append({"step": 2, "loss": 0.5})
    log.append({"step": 3})
    assert log.path.read_bytes() == b'{"step":1}\n{"step":2,"loss":0.5}\n{"step":3}\n'


def test_a_record_without_a_step_is_kept_and_an_unchanged_log_is_not_rewritten(log):
    log.append({"note": "begun"})
    before = log.path.stat().st_ino
    log.keep_until(3)
    assert log.path.stat().st_ino == before
    log.keep_until(0)
    assert log.read() == [{"note": "begun"}]


def test_records_after_the_resumed_step_are_dropped(log):
    log.keep_until(2)
    assert log.read() == RECORDS[:2]
    log.append({"step": 3})
    assert [record["step"] for record in log.read()] == [1, 2, 3]


def test_a_broken_line_in_the_middle_is_named(log):
    log.path.write_bytes(log.path.read_bytes().replace(b'{"step":2', b'{"step";2'))
    with pytest.raises(DamagedArtifactError, match="line 2"):
        log.read()


def test_numbers_that_are_not_finite_stay_readable_json(log):
    log.append({"loss": float("nan"), "norms": [float("inf"), -float("inf")]})
    assert log.read()[-1] == {"loss": "NaN", "norms": ["Infinity", "-Infinity"]}


def test_a_log_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(WriteFailedError, match="cannot write the log"):
        RunLog(tmp_path / "log.jsonl").append({"step": 1})
