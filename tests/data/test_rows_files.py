"""What is peculiar to each kind of file: broken records get their own lines, damage is one sentence, memory is bounded."""

import gzip
import json
import random
import zlib

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from medtune.data.rows import read_rows
from medtune.data.sources.reading import Reading, SourceNotes
from medtune.errors import DataError

SECRET = "Mrs Patient"


def rows_of(path, content, **options):
    """Write bytes and return the values read, a place and fault standing for each malformed row."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = list(read_rows(str(path), **options))
    return [(row.place.rpartition(":")[2] + " " + row.fault) if row.fault else dict(row.values) for row in found]


def test_csv_fields_may_hold_quotes_commas_and_line_breaks_and_count_from_their_first_line(tmp_path):
    text = 'a,b\n"x, ""y""\nz",1\n\nsecond,2\nthird\n'
    rows = rows_of(tmp_path / "r.csv", text)
    assert rows == [
        {"a": 'x, "y"\nz', "b": "1"},
        {"a": "second", "b": "2"},
        "6 the record has 1 fields and the header 2",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_lines_end_as_they_like(tmp_path, end):
    assert rows_of(tmp_path / "r.csv", end.join(["a,b", "1,2", ""])) == [{"a": "1", "b": "2"}]


def test_every_line_of_a_csv_record_whose_quotes_do_not_match_is_malformed(tmp_path):
    rows = rows_of(tmp_path / "r.csv", 'a,b\n1,"2\n3,"4"\n5,6\n')
    assert [r if isinstance(r, dict) else r[:23] for r in rows] == [
        "2 the line is not CSV (",
        "3 the line is not CSV (",
        {"a": "5", "b": "6"},
    ]


def test_a_csv_quote_that_is_never_closed_takes_no_line_silently(tmp_path):
    rows = rows_of(tmp_path / "r.csv", 'a,b\n1,2\n3,"4\n5,6\n7,8\n')
    assert rows[0] == {"a": "1", "b": "2"}
    assert [r.partition(" ")[0] for r in rows[1:]] == ["3", "4", "5"]


def test_a_csv_field_may_be_as_long_as_a_discharge_letter(tmp_path):
    letter = "word " * 60_000
    assert rows_of(tmp_path / "r.csv", f'a,b\n"{letter}",1\n') == [{"a": letter, "b": "1"}]


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"a,a\n1,2\n", b"\xff\xfea\x00,\x00b", b"\xff,b\n1,2\n", b'"a\n1,2\n', b"a\x00,b\n1,2\n"],
)
def test_a_csv_file_without_a_header_that_names_the_columns_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"r\.csv'"):
        rows_of(tmp_path / "r.csv", content)


def test_byte_order_marks_are_no_text(tmp_path):
    for kind, content in [("csv", "a\n1\n"), ("jsonl", '{"a": "1"}\n'), ("json", '[{"a": "1"}]')]:
        assert rows_of(tmp_path / f"r.{kind}", b"\xef\xbb\xbf" + content.encode()) == [{"a": "1"}]


def test_a_json_file_with_an_object_per_line_is_read_as_such(tmp_path):
    assert rows_of(tmp_path / "r.json", '\n{"a": 1}\n{"a": 2}\n[3]\n') == [
        {"a": 1},
        {"a": 2},
        "4 the line is JSON, but not an object",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[{", "not JSON from element 1 on"),
        ('[{"a": 1}, {"a" 2}]', "not JSON from element 2 on"),
        ('[{"a": 1}, {"a": 2}', "breaks off after element 2"),
        ('[{"a": 1} {"a": 2}]', "breaks off after element 1"),
        ("[1,]", "not JSON from element 2 on"),
        ("[" * 5000, "not JSON from element 1 on"),
        ("[", "not JSON from element 1 on"),
        ('{\n"data": []\n}', "its rows lie inside; set data.field to where they are; it has 'data'"),
        ('{\n"data" []\n}', "neither an array of objects nor an object per line"),
        (SECRET, "begins with neither"),
        ("3", "begins with neither"),
    ],
)
def test_a_json_file_that_breaks_off_or_holds_something_else_is_one_sentence(tmp_path, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        rows_of(tmp_path / "r.json", content)
    assert SECRET not in str(caught.value)


def test_elements_of_a_json_array_that_are_no_objects_are_malformed(tmp_path):
    content = b'[{"a": 1}, 2, [3], null, {"a": "\xff"}, {"a": 4}]'
    assert rows_of(tmp_path / "r.json", content) == [
        {"a": 1},
        "2 the element is JSON, but not an object",
        "3 the element is JSON, but not an object (values without names: write DataFrame.to_json(orient='records'))",
        "4 the element is JSON, but not an object",
        "5 the element is not UTF-8 text",
        {"a": 4},
    ]
    assert rows_of(tmp_path / "r.json", " [ ] ") == []
    assert rows_of(tmp_path / "r.json", " \n") == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=8), st.integers(1, 40), st.booleans()
)
def test_json_arrays_are_cut_wherever_the_text_is_read_in_pieces(tmp_path_factory, rows, piece, spaced):
    from unittest.mock import patch

    path = tmp_path_factory.mktemp("pieces") / "r.json"
    content = json.dumps(rows, indent=2 if spaced else None, ensure_ascii=piece % 2 == 0)
    with patch("medtune.data.sources.json_cursor.CHUNK", piece):
        assert rows_of(path, content) == rows


def test_a_json_array_is_read_in_bounded_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "r.json"
    with path.open("w") as file:
        file.write("[")
        for number in range(20_000):
            file.write(json.dumps({"a": f"{number} {'x' * 1000}"}) + ",\n")
        file.write('{"a": "last"}]')
    tracemalloc.start()
    count = sum(1 for _ in read_rows(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_001
    assert peak < path.stat().st_size / 4


def test_a_line_without_an_end_is_skipped_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("medtune.data.sources.json_files._ROW_LIMIT", 2**20)
    rows = rows_of(tmp_path / "r.jsonl", b'{"a": 1}\n{"a": "' + b"x" * 2**21 + b'"}\n{"a": 2}\n')
    assert rows == [{"a": 1}, "2 the line is longer than 1 MiB", {"a": 2}]


def test_rows_of_one_parquet_file_are_not_all_in_memory(tmp_path):
    path = tmp_path / "r.parquet"
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefgh ", k=1000)) for _ in range(20_000)]
    parquet.write_table(pa.table({"a": texts}), path, compression="none", use_dictionary=False)
    del texts
    before = pa.total_allocated_bytes()
    peak = max(pa.total_allocated_bytes() - before for _ in read_rows(str(path)))
    assert peak < path.stat().st_size / 2


def test_a_bad_value_in_an_arrow_batch_costs_its_own_row_only(tmp_path):
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 2, 4, 6)))
    column = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"ab\xff\xfecd")])
    batch = pa.record_batch({"a": column})
    with ipc.new_stream(tmp_path / "r.arrow", batch.schema) as file:
        file.write_batch(batch)
    parquet.write_table(pa.Table.from_batches([batch]), tmp_path / "r.parquet")
    for name in ("r.arrow", "r.parquet"):
        rows = list(read_rows(str(tmp_path / name)))
        assert [r.fault for r in rows] == [
            "",
            "a value is damaged, not UTF-8 text, or of a type that cannot be read",
            "",
        ]
        assert [r.values.get("a") for r in rows] == ["ab", None, "cd"]


def test_an_arrow_offset_that_points_elsewhere_never_reads_other_memory(tmp_path):
    batch = pa.record_batch({"a": ["ab", "cd", "ef", "gh"]})
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as file:
        file.write_batch(batch)
    content = sink.getvalue().to_pybytes()
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 2, 4, 6, 8))
    assert content.count(offsets) == 1
    damaged = offsets[:8] + (2**30).to_bytes(4, "little") + offsets[12:]
    rows = rows_of(tmp_path / "r.arrow", content.replace(offsets, damaged))
    assert [isinstance(r, dict) for r in rows] == [True, False, False, True]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_of_other_types_give_python_values(tmp_path, kind):
    table = pa.table(
        {
            "a": pa.array(["x", None], pa.large_string()),
            "b": pa.array(["x", "y"]).dictionary_encode(),
            "c": pa.array([b"x", b"\xff"]),
            "d": [{"e": [1]}, {"e": []}],
        }
    )
    path = tmp_path / f"r.{kind}"
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    assert [dict(r.values) for r in read_rows(str(path))] == table.to_pylist()


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([["x"], ["y"]], names=["a", "a"])
    with ipc.new_file(tmp_path / "r.arrow", table.schema) as file:
        file.write_table(table)
    with pytest.raises(DataError, match="the same name for two columns"):
        list(read_rows(str(tmp_path / "r.arrow")))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "arrow"])
def test_a_damaged_archive_is_one_sentence(tmp_path, kind, suffix):
    pack = gzip.compress if suffix == "gz" else zstandard.compress
    content = pack(bytes(random.Random(0).choices(b"abc\n", k=50_000)))
    for damaged in (content[: len(content) // 2], content[:20] + bytes(20) + content[40:], b"no archive", b""):
        path = tmp_path / f"r.{kind}.{suffix}"
        path.write_bytes(damaged)
        try:
            list(read_rows(str(path)))
        except DataError as error:
            assert f"'{path}' " in str(error)
        else:
            assert damaged == b""


def test_archives_of_several_members_are_read_to_their_end(tmp_path):
    lines = [b'{"a": 1}\n', b'{"a": 2}\n']
    assert rows_of(tmp_path / "r.jsonl.gz", b"".join(map(gzip.compress, lines))) == [{"a": 1}, {"a": 2}]
    assert rows_of(tmp_path / "r.jsonl.zst", b"".join(map(zstandard.compress, lines))) == [{"a": 1}, {"a": 2}]


def test_unknown_damage_inside_an_archive_is_no_traceback(tmp_path):
    path = tmp_path / "r.jsonl.gz"
    whole = bytearray(gzip.compress(b'{"a": 1}\n' * 5000))
    draw = random.Random(3)
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[draw.randrange(10, len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            list(read_rows(str(path)))
        except DataError as error:
            assert not isinstance(error.__cause__, zlib.error)


QA = [{"question": f"Dose {i}?", "answer": f"{i} mg."} for i in range(9)]


@pytest.mark.parametrize("order", [("train", "validation", "about"), ("about", "validation", "train")])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_arrays_beside_the_one_that_is_read_are_counted_wherever_they_stand(tmp_path, order, indent, name):
    parts = {"train": QA[:6], "validation": QA[6:], "about": {"version": [1, 2]}}
    notes = SourceNotes()
    reading = Reading(field="train", notes=notes)
    content = json.dumps({key: parts[key] for key in order}, indent=indent)
    assert rows_of(tmp_path / name, content, reading=reading) == QA[:6]
    assert notes.beside == {"validation": 3}


def test_what_lies_beside_a_row_in_its_line_is_counted(tmp_path):
    notes = SourceNotes()
    content = "".join(json.dumps({"row": {"inner": row, "n": "x"}, "note": "text", "at": 3}) + "\n" for row in QA)
    assert rows_of(tmp_path / "r.jsonl", content, reading=Reading(field="row.inner", notes=notes)) == QA
    assert notes.beside == {"note": 9, "row.n": 9}


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_objects_one_after_the_other_are_read_whatever_the_file_is_called(tmp_path, name, indent, between):
    content = between.join(json.dumps(row, indent=indent) for row in QA)
    assert rows_of(tmp_path / name, content) == QA


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_in_a_file_called_jsonl_is_read_and_a_bad_first_line_is_no_array(tmp_path, indent):
    assert rows_of(tmp_path / "r.jsonl", json.dumps(QA, indent=indent)) == QA
    lines = "[broken\n" + "".join(json.dumps(row) + "\n" for row in QA)
    assert rows_of(tmp_path / "r.jsonl", lines) == ["1 the line is not JSON", *QA]


@pytest.mark.parametrize("content", ['[{"a": 1}] [{"a": 2}]', '{"data": [{"a": 1}]} {"data": []}'])
def test_what_follows_the_value_that_is_read_is_refused(tmp_path, content):
    field = "" if content[0] == "[" else "data"
    with pytest.raises(DataError, match="goes on behind its first value; write one array"):
        rows_of(tmp_path / "r.json", content, reading=Reading(field=field))


@pytest.mark.parametrize("indent", [None, 2])
def test_every_form_of_a_data_frame_is_read_or_refused_with_the_way(tmp_path, indent):
    columns = ["question", "answer"]
    lists = {name: [row[name] for row in QA] for name in columns}
    many = [{"question": f"Dose {i}?", "answer": "1 mg."} for i in range(30)]
    by_name = {name: {f"r{i}": row[name] for i, row in enumerate(many)} for name in columns}
    split = {"columns": columns, "index": list(range(9)), "data": [[row[name] for name in columns] for row in QA]}
    for form, rows in ((lists, QA), (by_name, many), (split, QA)):
        assert rows_of(tmp_path / "r.json", json.dumps(form, indent=indent)) == rows
    values = [[row[name] for name in columns] for row in QA]
    assert all("orient='records'" in fault for fault in rows_of(tmp_path / "r.json", json.dumps(values, indent=indent)))
    one = {"tokens": ["He", "coughs"], "ner_tags": ["O", "B"]}
    assert rows_of(tmp_path / "r.json", json.dumps(one)) == [one]  # a row, not a table


@pytest.mark.parametrize(("stated", "delimiter"), [("sep=;", ";"), ('"sep=\t"', "\t"), ("SEP=,", ",")])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_line_by_which_excel_says_what_separates_fields_is_no_header(tmp_path, stated, delimiter, end, encoding):
    lines = [
        stated,
        delimiter.join(("question", "answer")),
        f'Dose?{delimiter}"1{delimiter}0 mg"',
        f"x{delimiter}y{delimiter}",
    ]
    path, notes = tmp_path / "r.csv", SourceNotes()
    content = "".join(line + end for line in lines).encode(encoding)
    rows = rows_of(path, content, reading=Reading(notes=notes))
    assert rows == [{"question": "Dose?", "answer": f"1{delimiter}0 mg"}, "4 the record has 3 fields and the header 2"]
    assert any("no row" in how for how in notes.dialects["r.csv"])


@pytest.mark.parametrize(("name", "indent"), [("rows.json", None), ("rows.json", 1), ("rows.jsonl", 1)])
@pytest.mark.parametrize(
    ("more", "lengths"),
    [
        ({"version": 1}, r"'question' \(3\), 'answer' \(3\)"),
        ({"answer": ["x", "y"]}, r"'question' \(3\), 'answer' \(2\)"),
        ({"why": []}, r"'question' \(3\), 'answer' \(3\):"),
        ({"Is it gout? Yes it is gout": ["z"]}, r"'answer' \(3\) and 1 more whose names look like text"),
    ],
)
def test_columns_of_unequal_length_or_beside_something_else_are_refused_with_their_lengths(
    tmp_path, more, lengths, name, indent
):
    columns = {"question": ["a", "b", "c"], "answer": ["d", "e", "f"]}
    (tmp_path / name).write_text(json.dumps(columns, indent=indent))
    assert len(list(read_rows(str(tmp_path / name)))) == 3
    (tmp_path / name).write_text(json.dumps(columns | more, indent=indent))
    with pytest.raises(DataError, match=lengths):
        list(read_rows(str(tmp_path / name)))


@pytest.mark.parametrize(
    "row",
    [
        {"question": "a", "options": ["b", "c"], "answer": "b"},
        {"tokens": ["a", "b"], "ner_tags": ["O", "O"], "id": 1},
        {"messages": [{"role": "user", "content": "a"}], "tags": ["x", "y"]},
        {"question": "a", "contexts": ["b", "c"], "answer": "d"},
    ],
)
def test_a_file_of_one_row_with_lists_of_its_own_is_that_row(tmp_path, row):
    (tmp_path / "one.json").write_text(json.dumps(row))
    assert [dict(r.values) for r in read_rows(str(tmp_path / "one.json"))] == [row]


def csv_of(path, lines):
    path.write_text("".join(",".join(line) + "\n" for line in lines))


def workbook_of(path, lines):
    book = pytest.importorskip("openpyxl").Workbook()
    for line in lines:
        book.active.append(line)
    book.save(path)


@pytest.mark.parametrize(("name", "write"), [("rows.csv", csv_of), ("rows.xlsx", workbook_of)])
def test_lines_that_repeat_the_header_are_counted_and_are_no_rows(tmp_path, name, write):
    header, row = ["question", "answer"], ["Is it gout?", "yes"]
    write(tmp_path / name, [header, row, header, ["question", "no"], [" question", "answer "], row])
    reading = Reading()
    read = list(read_rows(str(tmp_path / name), reading=reading))
    assert [(r.row_id, r.values["answer"]) for r in read] == [
        (f"{name}-{n}", a) for n, a in ((2, "yes"), (4, "no"), (6, "yes"))
    ]
    assert reading.notes.to_json()["read_as"] == {name: ["left out 2 lines that repeat the header"]}


@pytest.mark.parametrize("bad", ['{"q": "x", "a": "y", "a": "secret"}', '{"q": "x", "m": [{"a": 1, "a": 2}]}'])
@pytest.mark.parametrize(
    ("name", "form", "what"),
    [
        ("rows.jsonl", "{0}\n{1}\n{0}\n", "line"),
        ("rows.jsonl", "{1}\n{0}\n", "line"),
        ("rows.json", "[{0}, {1}, {0}]", "element"),
        ("rows.json", "[{1},\n{0}]", "element"),
        ("rows.json", "{0} {1} {0}", "element"),
        ("rows.json", "{1}", "element"),
    ],
)
def test_a_row_that_says_a_name_twice_is_malformed(tmp_path, bad, name, form, what):
    good = '{"q": "x", "a": "y"}'
    (tmp_path / name).write_text(form.format(good, bad))
    read = list(read_rows(str(tmp_path / name)))
    assert [r.fault for r in read if r.fault] == [f"the {what} says 'a' twice"]
    assert [dict(r.values) for r in read if not r.fault] == [json.loads(good)] * form.count("{0}")


def test_a_name_that_is_said_twice_and_looks_like_text_is_not_shown(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"Mr Smith has gout": 1, "Mr Smith has gout": 2}\n' * 2)
    assert {r.fault for r in read_rows(str(tmp_path / "rows.jsonl"))} == {
        "the line says a name that looks like text twice"
    }
