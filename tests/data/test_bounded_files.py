"""Files of rows that unpack to gigabytes, have no end, or are no files, are refused before they cost anything."""

import bz2
import gzip
import json
import os
import time
import tracemalloc
import zipfile

import pyarrow as pa
import pytest
from pyarrow import parquet

from medtune.data.importers.documents import Told
from medtune.data.importers.json_items import json_items
from medtune.data.importers.reading import Input, open_text, whole_text
from medtune.data.importers.reading import lines_of as lines_of_text
from medtune.data.rows import read_rows
from medtune.data.sources import opening
from medtune.data.sources.columnar import read_parquet
from medtune.data.sources.csv_files import read_csv
from medtune.data.sources.json_files import read_json, read_json_lines
from medtune.data.sources.opening import open_seekable
from medtune.data.sources.reading import Reading
from medtune.data.sources.workbooks import read_workbook
from medtune.errors import DataError
from medtune.evaluation.predictions import read_predictions

MEGABYTE = 2**20
ROW = json.dumps({"instruction": "a", "input": "b", "output": "c"}).encode() + b"\n"


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(opening, "MOST_UNPACKED", MEGABYTE)
    monkeypatch.setattr("medtune.data.sources.workbooks.MOST_UNPACKED", MEGABYTE)


def packed(path, content):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    else:
        path.write_bytes(pa.Codec("zstd").compress(content, asbytes=True))
    return path


@pytest.mark.parametrize("kind", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["jsonl", "json", "csv", "parquet", "arrow", "xlsx"])
def test_an_archive_that_unpacks_to_far_more_than_text_is_refused_in_every_form(tmp_path, small_limits, name, kind):
    content = b"[" + b" " * (2 * MEGABYTE) if name == "json" else b"\n" * (2 * MEGABYTE)
    if name == "jsonl":  # in fewer lines than may be blank
        content = (b" " * 99 + b"\n") * 100_000
    if name == "csv":
        content = b"a,b\n" + content
    path = packed(tmp_path / f"rows.{name}{kind}", content)
    with pytest.raises(DataError, match=r"unpacks to more than 1 MiB and 200 times its size"):
        list(read_rows(str(path)))


def test_an_archive_of_much_text_is_read(tmp_path, small_limits):
    rows = b"".join(
        json.dumps({"input": os.urandom(600).hex(), "output": "a" * 100}).encode() + b"\n" for _ in range(1000)
    )
    assert len(rows) > MEGABYTE
    assert len(list(read_rows(str(packed(tmp_path / "rows.jsonl.gz", rows))))) == 1000


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".jsonl.gz", ".jsonl.zst"])
def test_nobody_waits_for_a_pipe_or_reads_a_device(tmp_path, what, suffix):
    path = tmp_path / f"rows{suffix}"
    os.mkfifo(path) if what == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(DataError):
        list(read_rows(str(path)))
    with pytest.raises(DataError, match="is a pipe, a device or a folder"), open_seekable(path):
        pass


def test_predictions_are_read_within_the_same_bounds(tmp_path, small_limits):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="is a pipe"):
        read_predictions(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="unpacks to more than"):
        read_predictions(packed(tmp_path / "given.jsonl.gz", b"\n" * (2 * MEGABYTE)))
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(DataError, match="line 1 cannot be scored: it is not JSON"):
        read_predictions(tmp_path / "deep.jsonl")


def test_a_line_without_end_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    for limit in ("medtune.data.sources.json_files._ROW_LIMIT", "medtune.data.sources.csv_files._FIELD_LIMIT"):
        monkeypatch.setattr(limit, MEGABYTE)
    monkeypatch.setattr("medtune.data.importers.reading._LONGEST", MEGABYTE)
    monkeypatch.setattr(opening, "_LONGEST_LINE", 24 * MEGABYTE)
    for name, start in (("rows.jsonl", ROW), ("rows.csv", b"a,b\n")):
        with (tmp_path / name).open("wb") as file:
            file.write(start + b"," * 32)
            file.truncate(64 * MEGABYTE)
    tracemalloc.start()
    with pytest.raises(DataError, match="holds a line of more than 24 MiB"):
        list(read_json_lines(tmp_path / "rows.jsonl"))
    with pytest.raises(DataError, match="has a line of more than 1 Mi characters"):
        list(read_csv(tmp_path / "rows.csv"))
    with (
        pytest.raises(DataError, match="a line of more than 1 Mi"),
        open_text(tmp_path / "rows.csv", None, Told()) as text,
    ):
        list(lines_of_text(text))
    with pytest.raises(DataError, match="a text of more than 1 Mi"):
        whole_text(tmp_path / "rows.csv", None, Told())
    assert tracemalloc.get_traced_memory()[1] < 32 * MEGABYTE
    tracemalloc.stop()


@pytest.mark.parametrize("depth", [62, 63, 500, 900, 100_000])
@pytest.mark.parametrize("array", [False, True])
def test_a_row_that_is_nested_deeper_than_anybody_follows_is_a_malformed_row(tmp_path, depth, array):
    row = '{"input": "a", "output": ' + "[" * depth + '"b"' + "]" * depth + "}"
    (tmp_path / "rows.json").write_text(f"[{row}]" if array else f'{{"input": "a"}}\n{row}\n')
    if array and depth > 10_000:
        with pytest.raises(DataError, match="is not JSON"):
            list(read_json(tmp_path / "rows.json"))
        return
    found = list(read_json(tmp_path / "rows.json"))[-1]
    assert ("nested deeper than 64 levels" in found.fault or "is not JSON" in found.fault) == (depth > 63)


def workbook(path, sheet, **others):
    """Write a workbook by hand, as no program would."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rels = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{rels}"><Relationship Id="r1" Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{rels}"><Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
        **others,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def cells(number, *values):
    inner = "".join(
        f'<c r="{column}{number}" t="inlineStr"><is><t>{v}</t></is></c>' for column, v in zip("AB", values, strict=True)
    )
    return f'<row r="{number}">{inner}</row>'


def test_a_workbook_is_read_and_its_bombs_are_not(tmp_path, small_limits):
    pytest.importorskip("openpyxl")
    sheet = cells(1, "input", "output") + cells(2, "a", "b")
    good = workbook(tmp_path / "good.xlsx", sheet)
    assert [row.values for row in read_workbook(good, Reading())] == [{"input": "a", "output": "b"}]
    hostile = {
        "strings": (sheet, {"xl/sharedStrings.xml": " " * (2 * MEGABYTE)}, "unpacks to more than"),
        "entities": (
            sheet,
            {"xl/sharedStrings.xml": '<!DOCTYPE sst [<!ENTITY a SYSTEM "file:///etc/hostname">]><sst>&a;</sst>'},
            "declares entities",
        ),
        "wide entities": (
            sheet,
            {"xl/styles.xml": b"\xff\xfe" + "<!DOCTYPE x><x/>".encode("utf-16-le")},
            "declares entities",
        ),
        "a far line": (sheet + cells(999_999_999_999, "a", "b"), {}, "a line behind the 1,048,576"),
        "damaged": (sheet + "<row", {}, "is not a whole workbook"),
    }
    for name, (content, others, reason) in hostile.items():
        path = workbook(tmp_path / f"{name}.xlsx", content, **others)
        began = time.process_time()
        with pytest.raises(DataError, match=reason):
            list(read_workbook(path, Reading()))
        assert time.process_time() - began < 5


def test_archives_that_nobody_reads_are_told_by_their_kind(tmp_path):
    (tmp_path / "rows.jsonl.bz2").write_bytes(bz2.compress(b"\n" * 2 * MEGABYTE))
    with pytest.raises(DataError, match=r"bz2"):
        list(read_rows(str(tmp_path / "rows.jsonl.bz2")))


def coded(path, text, rows):
    """Write a Parquet file that holds one text once, and says for each row that it is that."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    parquet.write_table(
        pa.table({"input": column}), path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30
    )
    return path


def test_one_text_for_a_million_rows_is_in_memory_for_few_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr("medtune.data.sources.columnar.MOST_UNPACKED", 2**31)  # which it is refused for
    path = coded(tmp_path / "rows.parquet", "a" * MEGABYTE, 100_000)
    assert path.stat().st_size < 4096
    before = pa.total_allocated_bytes()
    rows, most = read_parquet(path), 0
    for _row in range(1500):
        assert len(next(rows).values["input"]) == MEGABYTE
        most = max(most, pa.total_allocated_bytes() - before)
    rows.close()
    assert most < 100 * MEGABYTE


@pytest.mark.parametrize("kind", ["rows", "a list", "lists"])
def test_one_long_text_that_stands_for_many_is_refused_before_it_is_written_out(tmp_path, kind):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["a" * MEGABYTE]))
    ends = {"a list": [0, 200], "lists": range(0, 201, 50)}
    column = texts if kind == "rows" else pa.ListArray.from_arrays(pa.array(ends[kind], pa.int32()), texts)
    parquet.write_table(
        pa.table({"turns": column}), tmp_path / "rows.parquet", store_schema=False, dictionary_pagesize_limit=2**30
    )
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), pool.max_memory()
    with pytest.raises(DataError, match="unpacks to more than 16 MiB"):
        list(read_parquet(tmp_path / "rows.parquet"))
    assert pool.max_memory() < max(most, before + 150 * MEGABYTE)


def test_coded_texts_in_lists_are_read_as_they_are(tmp_path):
    rows = [
        {
            "turns": [{"role": "user", "content": f"{n % 5} fever" * 40}, {"role": "assistant", "content": None}]
            * (n % 3),
            "n": n,
        }
        for n in range(600)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=100)
    assert [row.values for row in read_parquet(tmp_path / "rows.parquet")] == rows


def test_a_parquet_file_that_says_what_it_cannot_hold_is_refused(tmp_path, small_limits, monkeypatch):
    monkeypatch.setattr("medtune.data.sources.columnar.MOST_UNPACKED", MEGABYTE)
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        list(read_parquet(coded(tmp_path / "long.parquet", "a" * 2 * MEGABYTE, 10)))
    parquet.write_table(pa.table({"input": pa.nulls(5_000_000)}), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="says that it has 5,000,000 rows in"):
        list(read_parquet(tmp_path / "empty.parquet"))


def test_a_row_of_a_table_is_as_long_as_a_row_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr("medtune.data.sources.columnar.ROW_LIMIT", MEGABYTE)
    monkeypatch.setattr("medtune.data.sources.columnar._MOST_DECODED", MEGABYTE)
    parquet.write_table(pa.table({"input": ["short", "a" * 2 * MEGABYTE, "short"]}), tmp_path / "rows.parquet")
    found = list(read_parquet(tmp_path / "rows.parquet"))
    assert [row.number for row in found] == [1, 2, 3]
    assert [row.fault for row in found] == ["", "the row is longer than 1 MiB", ""]
    assert [row.values.get("input") for row in found] == ["short", None, "short"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rows.jsonl", '{"instruction": "a", "output": "b"}\n' + "\n" * 1_000_001, "more than 1,000,000 blank lines"),
        (
            "rows.json",
            "[" + '"x",' * 100_001 + '"x"]',
            "more than 100,000 rows one after the other that cannot be read",
        ),
        ("rows.jsonl", "x\n" * 100_001, "more than 100,000 rows one after the other that cannot be read"),
    ],
    ids=["blank lines", "values", "lines"],
)
def test_a_file_of_what_is_no_row_is_refused_before_its_end(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=told):
        list(read_rows(str(tmp_path / name)))


def test_a_file_of_values_that_are_no_annotations_is_refused_before_its_end(tmp_path):
    (tmp_path / "notes.json").write_text("[" + '"x",' * 100_001 + '"x"]')
    with pytest.raises(DataError, match="more than 100,000 values one after the other that are no annotations"):
        list(json_items(Input(tmp_path / "notes.json"), Told()))
