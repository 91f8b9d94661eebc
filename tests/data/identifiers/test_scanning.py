"""A file is scanned row by row: counts and places are told, never the text; what is written is whole and private."""

import json
import stat
from dataclasses import asdict

import pytest

from medtune.cli.app import run
from medtune.data.identifiers.scanning import scan_file
from medtune.errors import DataError, SpecError

ROWS = [
    {"input": "Seen by Dr. Quillfeather on 3 May 2021.", "output": "Cough.", "source": "ward"},
    {"input": "No fever, no cough.", "output": "Healthy.", "source": "ward"},
    {"input": "MRN: 0012345 is on file.", "output": "Noted.", "source": "desk"},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_counts_by_source_column_and_kind_are_told_and_no_text(file):
    report = scan_file(str(file))
    assert (report.rows, report.rows_found, report.written) == (3, 2, None)
    assert report.sources == {"desk": {"input": {"record_number": 1}}, "ward": {"input": {"name": 1, "date": 1}}}
    assert [place["row_id"] for place in report.places] == ["rows.jsonl-1", "rows.jsonl-3"]
    told = json.dumps(asdict(report))
    assert all(secret not in told for secret in ("Quillfeather", "May", "0012345"))


def test_masked_rows_are_all_there_and_clean(file, tmp_path):
    target = tmp_path / "masked.jsonl"
    assert scan_file(str(file), "mask", target).written == 3
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["input"] for row in rows] == [
        "Seen by Dr. [NAME] on [DATE].",
        ROWS[1]["input"],
        "MRN: [RECORD_NUMBER] is on file.",
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert scan_file(str(target)).rows_found == 0


def test_rows_that_hold_an_identifier_are_dropped_whole(file, tmp_path):
    target = tmp_path / "dropped.jsonl"
    assert scan_file(str(file), "drop", target).written == 1
    assert json.loads(target.read_text()) == ROWS[1]


def test_nothing_is_written_over_its_source_or_left_behind(file, tmp_path):
    with pytest.raises(SpecError, match="written over"):
        scan_file(str(file), "mask", file)
    with pytest.raises(SpecError, match="folder"):
        scan_file(str(file), "mask", tmp_path)
    with pytest.raises(DataError):
        scan_file(str(tmp_path / "none.jsonl"), "mask", tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_command_prints_counts_and_never_the_text(file, tmp_path, capsys):
    assert run(["scan", str(file), "--json", "--mask", str(tmp_path / "out.jsonl")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"] == {"name": 1, "date": 1, "record_number": 1}
    assert found["written"] == 3
    assert run(["scan", str(file)]) == 0
    shown = capsys.readouterr()
    assert "not a guarantee" in shown.err
    assert "Quillfeather" not in shown.out + shown.err
    assert run(["scan", str(file), "--mask", "a.jsonl", "--drop", "b.jsonl"]) == 2


@pytest.mark.parametrize("text", ['"a \\ud800 Dr. Harrow"', "1e999"])
def test_a_row_that_no_json_can_say_is_counted_and_not_written(file, tmp_path, text):
    with file.open("a") as rows:
        rows.write(f'{{"input": {text}, "output": "x"}}\n')
    target = tmp_path / "masked.jsonl"
    report = scan_file(str(file), "mask", target)
    assert (report.rows, report.unreadable, report.written) == (3, 1, 3)
    assert [json.loads(line, parse_constant=pytest.fail) for line in target.read_text("utf-8").splitlines()]
