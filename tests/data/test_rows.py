"""Rows are read from every kind of file, and whatever is wrong with one is said by its place."""

import csv
import gzip
import json
import random

import pyarrow as pa
import pytest
import zstandard
from pyarrow import ipc, parquet

from medtune import DataSpec
from medtune.data import rows as rows_module
from medtune.data.examples import read_examples, training_rows
from medtune.data.quarantine import Quarantine
from medtune.data.rows import data_fingerprint, read_rows
from medtune.errors import DataError, HubUnreachableError, MedtuneError, StorageError
from medtune.errors.locked_mode import RemoteNameError
from medtune.plugins.host import create_host

ROWS = [{"instruction": f"Do {i}.", "input": 'x, "y"\nz', "output": f"done {i}", "source": "demo"} for i in range(5)]
SECRET = "Mrs Patient"


def write(path, kind, rows):
    """Write rows as one kind of file."""
    if kind == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "arrow":
        table = pa.Table.from_pylist(rows)
        with ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    return path


def values(source, **options):
    return [dict(row.values) for row in read_rows(str(source), **options)]


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "arrow"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, kind):
    assert values(write(tmp_path / f"rows.{kind}", kind, ROWS)) == ROWS


def test_arrow_s_file_format_is_read_as_well(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    with ipc.new_file(tmp_path / "rows.arrow", table.schema) as file:
        file.write_table(table)
    assert values(tmp_path / "rows.arrow") == ROWS


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_compressed_files_are_read(tmp_path, kind):
    plain = write(tmp_path / f"rows.{kind}", kind, ROWS).read_bytes()
    (tmp_path / f"a.{kind}.gz").write_bytes(gzip.compress(plain))
    (tmp_path / f"b.{kind}.zst").write_bytes(zstandard.compress(plain))
    assert values(tmp_path / f"a.{kind}.gz") == values(tmp_path / f"b.{kind}.zst") == ROWS


def test_folders_and_globs_are_read_in_the_order_of_names(tmp_path):
    write(tmp_path / "b.jsonl", "jsonl", ROWS[2:])
    write(tmp_path / "a.jsonl", "jsonl", ROWS[:2])
    (tmp_path / "notes.txt").write_text("no data")
    assert values(tmp_path) == values(tmp_path / "*.jsonl") == ROWS


def test_a_folder_with_splits_gives_the_files_of_the_split(tmp_path):
    write(tmp_path / "train.jsonl", "jsonl", ROWS[:3])
    write(tmp_path / "validation.jsonl", "jsonl", ROWS[3:])
    assert values(tmp_path) == ROWS[:3]
    assert values(tmp_path, split="validation") == ROWS[3:]


def test_objects_in_memory_are_rows():
    import datasets

    assert [r.values for r in read_rows(ROWS)] == ROWS
    assert [dict(r.values) for r in read_rows(datasets.Dataset.from_list(ROWS))] == ROWS
    assert [r.fault for r in read_rows([3])] == ["int instead of a mapping"]


def test_rows_are_numbered_by_file_and_line(tmp_path):
    rows = list(read_rows(str(write(tmp_path / "rows.jsonl", "jsonl", ROWS))))
    assert rows[2].row_id == "rows.jsonl-3"
    assert rows[2].place.endswith("rows.jsonl:3")


def test_a_missing_file_and_an_unknown_kind_are_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"no data file at '.*none\.jsonl'"):
        values(tmp_path / "none.jsonl")
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(DataError, match="of no known kind"):
        values(tmp_path / "rows.txt")


def test_a_data_set_that_cannot_be_reached_says_how_to_point_at_a_copy(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachableError, match=r"'nobody/nothing'.*--set data\.source=FILE"):
        list(read_rows("nobody/nothing", revision="c0ffee"))


def test_the_fingerprint_follows_the_bytes_and_not_the_place(tmp_path):
    first = write(tmp_path / "a.jsonl", "jsonl", ROWS)
    second = write(tmp_path / "b.jsonl", "jsonl", ROWS)
    third = write(tmp_path / "c.jsonl", "jsonl", ROWS[:4])
    assert data_fingerprint(str(first)) == data_fingerprint(str(second)) != data_fingerprint(str(third))


def fuzzed(kind, count, draw):
    """Return the bytes of a file in which every row but the first is malformed, and the number of malformed ones."""
    good = {"instruction": "Do.", "input": SECRET, "output": "done"}
    faults = [
        {**good, "output": None},
        {**good, "output": "  "},
        {"input": SECRET, "output": SECRET},
        {**good, "instruction": None},
    ]
    if kind == "jsonl":
        broken = [
            b'{"instruction": "' + SECRET.encode(),
            SECRET.encode() + b"\xff\xfe",
            json.dumps([SECRET]).encode(),
            json.dumps({**good, "output": [SECRET]}).encode(),
            json.dumps({**good, "output": {"a": SECRET}}).encode(),
            json.dumps({**good, "output": "a\0b"}).encode(),
            json.dumps({**good, "output": SECRET + "\ud800"}).encode(),
            *(json.dumps(f).encode() for f in faults),
        ]
        return b"\n".join([json.dumps(good).encode(), *(draw.choice(broken) for _ in range(count))]) + b"\n"
    if kind == "json":
        broken = [
            SECRET.encode().join([b'"', b'"']),
            json.dumps([SECRET]).encode(),
            b'{"instruction": "' + SECRET.encode() + b'\xff"}',
            json.dumps({**good, "output": {"a": SECRET}}).encode(),
            *(json.dumps(f).encode() for f in faults),
        ]
        return b"[" + b", ".join([json.dumps(good).encode(), *(draw.choice(broken) for _ in range(count))]) + b"]"
    if kind == "csv":
        broken = [
            f'Do.,"{SECRET}"x,y'.encode(),
            f"Do.,{SECRET}".encode(),
            f"Do.,{SECRET},,".encode(),
            b"Do.,\xff,x",
            f",{SECRET},x".encode(),
            b"Do., ,",
        ]
        return (
            b"\n".join([b"instruction,input,output", b"Do.,x,y", *(draw.choice(broken) for _ in range(count))]) + b"\n"
        )
    rows = [good, *(draw.choice(faults) for _ in range(count))]
    table = pa.Table.from_pylist([{**dict.fromkeys(good), **r} for r in rows])
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        parquet.write_table(table, sink)
    else:
        with ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue().to_pybytes()


def quarantined(path, tmp_path, limit=1.0):
    """Read a file through the formatter and return the quarantine's lines."""
    spec = DataSpec(source=str(path))
    with Quarantine(tmp_path / "quarantine.jsonl", limit) as quarantine:
        examples = list(read_examples(training_rows(spec), spec, create_host(autoload=False), quarantine))
    return examples, (tmp_path / "quarantine.jsonl").read_text()


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "arrow"])
def test_each_of_ten_thousand_malformed_rows_is_set_aside_with_its_place_and_without_its_text(tmp_path, kind):
    count = 10_000
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(fuzzed(kind, count, random.Random(0)))
    examples, text = quarantined(path, tmp_path)
    lines = [json.loads(line) for line in text.splitlines()]
    assert (len(examples), len(lines)) == (1, count)
    assert all(line["place"].startswith(f"{path}:") and line["reason"] for line in lines)
    assert len({line["place"] for line in lines}) == count
    assert SECRET not in text


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "arrow", "json"])
def test_a_file_with_flipped_bytes_gives_rows_or_one_sentence(tmp_path, kind):
    whole = write(tmp_path / f"whole.{kind}", kind, [{**r, "input": SECRET} for r in ROWS * 20]).read_bytes()
    draw = random.Random(1)
    for number in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 20)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path = tmp_path / f"damaged-{number}.{kind}"
        path.write_bytes(damaged[: draw.randint(1, len(damaged))])
        try:
            list(read_rows(str(path)))
        except MedtuneError as error:
            assert SECRET not in str(error)
            assert "\n" not in str(error)


def test_too_many_malformed_rows_stop_the_preparation(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(fuzzed("jsonl", 50, random.Random(0)))
    with pytest.raises(DataError, match="50 of 51 rows are malformed") as caught:
        quarantined(path, tmp_path, limit=0.01)
    assert "quarantine.jsonl" in str(caught.value)
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 50


def test_an_unreadable_file_is_a_storage_error(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.jsonl", "jsonl", ROWS)

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("medtune.data.sources.opening.os.open", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        list(read_rows(str(path)))


def test_a_locked_process_reads_no_data_set_of_the_hub_not_even_a_cached_one(monkeypatch):
    monkeypatch.setattr(rows_module, "is_locked", lambda: True)
    with pytest.raises(RemoteNameError, match="'org/rows' is a data set of the hub"):
        read_rows("org/rows")
