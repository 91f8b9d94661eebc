"""JSON of any outer shape is imported whole, or refused: no name that stands twice, and nothing behind the rows, is passed over."""

import json

import pytest

from medtune.data.importers.importing import import_file
from medtune.data.importers.reading import Input
from medtune.errors import DataError


def row(number, extra=""):
    before = f"Patient {number} took "
    label = json.dumps([[len(before), len(before) + len("aspirin"), "DRUG"]])
    return f'{{"id": {number}, "text": "{before}aspirin today.", "label": {label}{extra}}}'


def array(numbers, **extra):
    return f"[{', '.join(row(number, extra.get(f'at{number}', '')) for number in numbers)}]"


def imported(tmp_path, text, name="rows.jsonl"):
    (tmp_path / name).write_text(text, "utf-8")
    target = tmp_path / "out.jsonl"
    report = import_file(Input(tmp_path / name), target)
    return report.rows, target.read_text("utf-8")


def test_lines_that_hold_an_array_each_are_read_as_the_rows_in_them(tmp_path):
    lines = imported(tmp_path, "\n".join(row(n) for n in range(6)))
    assert lines[0] == 6
    assert imported(tmp_path, array(range(6))) == lines
    assert imported(tmp_path, f"{array(range(6))}\n") == lines
    assert imported(tmp_path, f"{array(range(2))}\n{array(range(2, 6))}\n")[0] == 6


TWICE = ', "label": []'


@pytest.mark.parametrize("text", [
    "\n".join(row(n, TWICE if n == 3 else "") for n in range(6)),
    array(range(6), at3=TWICE),
    f'{{"rows": {array(range(6), at3=TWICE)}}}',
], ids=["lines", "array", "wrapped"])  # fmt: skip
def test_a_name_that_stands_twice_is_refused_by_its_place(tmp_path, text):
    with pytest.raises(DataError, match="value 4 says 'label' twice" if '"rows"' not in text else "says 'label' twice"):
        imported(tmp_path, text)
    assert not (tmp_path / "out.jsonl").exists()


def test_an_id_that_stands_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="says a name that looks like text twice"):
        imported(tmp_path, f'{{"7": {row(7)}, "8": {row(8)}, "7": {row(9)}}}')


@pytest.mark.parametrize("behind", ["x", "{}", row(9), '"more"'])
def test_what_stands_behind_the_rows_is_refused(tmp_path, behind):
    with pytest.raises(DataError, match="is not JSON from value 7 on"):
        imported(tmp_path, f"{array(range(6))}\n{behind}")


def test_what_stands_behind_an_object_over_several_lines_is_refused(tmp_path):
    pretty = f'{{\n"rows": {array(range(6))}\n}}'
    assert imported(tmp_path, pretty)[0] == 6
    with pytest.raises(DataError, match="goes on behind its first object"):
        imported(tmp_path, f"{pretty}\n{pretty}")
