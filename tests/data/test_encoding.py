"""Rows encoded by several processes become the set that one process makes, to the byte."""

import json
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from preparing import file_of, spec_of

from medtune.data import encoding, packed_set
from medtune.data.encoding import ChunkEncoder, encoded_rows, processes_for
from medtune.data.prepare import encoder_of, prepare
from medtune.errors import DataError, UnusableRowError
from medtune.plugins.contracts import Example
from medtune.plugins.host import create_host
from medtune.workflow.row_checks import RowChecks


@pytest.fixture
def many(rows):
    """Rows of every source, and among them malformed ones and ones that cannot be encoded."""
    good = (list(rows) * (260 // len(rows) + 1))[:260]
    bad = [
        {"instruction": "", "input": "", "output": "x"},
        {"instruction": "a", "input": "", "output": " "},
        {"other": 1},
    ]
    return [
        row for number, each in enumerate(good) for row in ((each, bad[number % 3]) if number % 41 == 7 else (each,))
    ]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch, tmp_path):
    monkeypatch.setattr(packed_set, "_CHUNK_ROWS", 24)
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))


def prepared(path, tokenizer, processes, **data):
    spec = spec_of(path, processes=processes, max_quarantined=0.5, **data)
    host = create_host(autoload=False)
    return prepare(spec, host, tokenizer, checker=RowChecks(host.all("task"), spec))


def files_of(cache):
    [folder] = [place for place in cache.iterdir() if place.is_dir() and len(place.name) == 64]
    return {place.name: place.read_bytes() for place in sorted(folder.iterdir())}


@pytest.mark.parametrize("data", [{}, {"validation_fraction": 0.1, "limit": 150}], ids=["all", "drawn"])
def test_the_set_of_three_processes_is_that_of_one_to_the_byte(data, many, tokenizer, tmp_path, monkeypatch):
    path, found = file_of(tmp_path, many), []
    for processes in (0, 3):
        monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / f"cache-{processes}"))
        prepared(path, tokenizer, processes, **data)
        found.append(files_of(tmp_path / f"cache-{processes}"))
    assert len(found[0]["quarantine.jsonl"].splitlines()) > 3
    assert found[0] == found[1]


def test_the_number_of_processes_is_no_part_of_the_key(many, tokenizer, tmp_path):
    path = file_of(tmp_path, many)
    assert not prepared(path, tokenizer, 0).report.from_cache
    assert prepared(path, tokenizer, 2).report.from_cache


def test_a_set_with_too_many_malformed_rows_is_refused_alike(many, tokenizer, tmp_path):
    path, told = file_of(tmp_path, many), []
    for processes in (0, 2):
        spec = spec_of(path, processes=processes, max_quarantined=0.001)
        with pytest.raises(DataError) as refused:
            prepare(spec, create_host(autoload=False), tokenizer)
        told.append(str(refused.value))
    assert told[0] == told[1]


def test_a_file_that_breaks_off_is_refused_after_the_rows_before_it(many, tokenizer, tmp_path):
    path, told = file_of(tmp_path, many), []
    with Path(path).open("a") as file:
        file.write('{"instruction": "cut')
    for processes in (0, 2):
        spec = spec_of(path, processes=processes, max_quarantined=0.0)
        with pytest.raises(DataError) as refused:
            prepare(spec, create_host(autoload=False), tokenizer)
        told.append(str(refused.value))
    assert told[0] == told[1]


class TestProcesses:
    @pytest.fixture
    def encoder(self, tokenizer):
        return encoder_of(spec_of(), tokenizer)

    @pytest.fixture
    def chunks(self, rows):
        asked = [f"{row['instruction']}\n\n{row['input']}" for row in rows[:12]]
        examples = [
            Example([{"role": "user", "content": text}, {"role": "assistant", "content": row["output"]}], row_id=str(n))
            for n, (text, row) in enumerate(zip(asked, rows, strict=False))
        ]
        return [examples[at : at + 3] for at in range(0, 12, 3)]

    def test_one_that_is_killed_is_done_without_and_that_is_said(self, encoder, chunks, caplog):
        caplog.set_level(logging.WARNING)
        encoded = ChunkEncoder(spec_of(processes=2), encoder).encode(chunks)
        found = [next(encoded)]
        for child in children():
            os.kill(child, signal.SIGKILL)
        found += encoded
        assert ids_in(found) == [ids for chunk in chunks for ids in ids_in([(chunk, encoded_rows(encoder, chunk))])]
        assert [chunk for chunk, _rows in found] == chunks
        assert "ended early" in caplog.text
        assert children() == []

    def test_none_is_left_when_nobody_takes_the_rest(self, encoder, chunks):
        encoded = ChunkEncoder(spec_of(processes=2), encoder).encode(chunks)
        next(encoded)
        assert len(children()) == 2
        encoded.close()
        assert children() == []

    def test_at_most_a_chunk_for_each_is_read_ahead(self, encoder, chunks):
        taken = []
        encoded = ChunkEncoder(spec_of(processes=2), encoder).encode(taken.append(c) or c for c in chunks)
        next(encoded)
        assert len(taken) == 3
        encoded.close()

    def test_a_row_that_cannot_be_encoded_is_told_from_the_others(self, encoder, chunks):
        chunk = [chunks[0][0], broken(chunks[0][1]), chunks[0][2]]
        [(_chunk, rows)] = ChunkEncoder(spec_of(processes=1), encoder).encode([chunk])
        assert [isinstance(row, UnusableRowError) for row in rows] == [False, True, False]
        assert rows[1].row_id == chunk[1].row_id

    def test_automatic_is_the_cores_but_one_shared_by_the_training_processes(self, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
        assert processes_for("auto") == 8
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert processes_for("auto") == 3
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
        assert processes_for("auto") == 0
        assert processes_for(5) == 5

    def test_a_small_set_starts_none_of_its_own_accord(self, encoder, chunks, monkeypatch):
        monkeypatch.setattr(encoding, "processes_for", lambda _wanted: 2)
        encoded = ChunkEncoder(spec_of(), encoder).encode(chunks)
        next(encoded)
        assert children() == []
        assert len(list(encoded)) == 3


def children():
    """The process ids of this process's children that encode."""
    own, found = str(os.getpid()), []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = (each / "stat").read_text().rpartition(")")[2].split()[1]
            command = (each / "cmdline").read_text()
        except OSError:
            continue
        if parent == own and "medtune.data.encoding" in command:
            found.append(int(each.name))
    return found


def broken(example):
    return replace(example, messages=[*example.messages[:-1], {"role": "assistant", "content": " "}])


def ids_in(found):
    return [json.dumps(row[0].tolist()) for _chunk, rows in found for row in rows]
