"""A number is the same answer whether a file keeps it as a number or as text."""

import csv
import io
import json

import pytest

from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError
from medtune.specfile import apply_overrides, validate_spec

SHAPES = {
    "question_answer": lambda n: {"question": f"How many {n}?", "answer": n % 3},
    "alpaca": lambda n: {"instruction": "Count.", "input": n, "output": n % 3},
    "dolly": lambda n: {"instruction": f"Count {n}.", "response": n % 3},
}


def file_of(tmp_path, kind, rows):
    path = tmp_path / f"rows.{kind}"
    text = io.StringIO(newline="")
    if kind == "csv":
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        kinds = {
            "numbers": lambda value: value,
            "fractions": lambda value: float(value) if isinstance(value, int) else value,
            "texts": str,
        }
        made = kinds[kind]
        text.write("\n".join(json.dumps({column: made(value) for column, value in row.items()}) for row in rows))
        path = path.with_suffix(".jsonl")
    path.write_text(text.getvalue(), "utf-8", newline="")
    return str(path)


def read(host, path, settings=()):
    spec = validate_spec(apply_overrides({"data": {"source": path, "validation": None}}, settings)).data
    account = Account()
    examples = list(training_examples(spec, host, Quarantine(None, 0.0, account=account), 0))
    return [[message["content"] for message in example.messages] for example in examples], account.to_json()[0][
        "advice"
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_and_their_texts_give_the_same_rows_and_the_same_advice(host, tmp_path, shape):
    rows = [SHAPES[shape](n) for n in range(30)]
    found = [read(host, file_of(tmp_path, kind, rows)) for kind in ("csv", "numbers", "fractions", "texts")]
    assert found[0][0] == found[1][0] == found[2][0] == found[3][0]
    assert [answer for _question, answer in found[0][0][:4]] == ["0", "1", "2", "0"]
    assert found[0][1] == found[1][1]
    assert shape == "dolly" or "data.labels." in found[0][1][0]


def classes(n):
    return {"text": f"Report {n}.", "label": n % 3}


@pytest.mark.parametrize("kind", ["csv", "numbers", "fractions", "texts"])
def test_classes_that_are_numbers_are_refused_until_they_have_names(host, tmp_path, kind):
    path = file_of(tmp_path, kind, [classes(n) for n in range(30)])
    with pytest.raises(DataError, match=r"3 different numbers.*data\.labels\.label=\{0=\"NAME_OF_0\", 1="):
        read(host, path)
    kept, _advice = read(host, path, ['data.labels.label={0="0", 1="1", 2="2"}'])
    assert [answer for _question, answer in kept[:3]] == ["0", "1", "2"]


def test_codes_of_a_catalogue_and_many_numbers_need_no_names(host, tmp_path):
    codes = [{"text": f"Report {n}.", "label": ("4019", "25000", "78650")[n % 3]} for n in range(30)]
    assert len(read(host, file_of(tmp_path, "csv", codes))[0]) == 30
    many = [{"text": f"Report {n}.", "label": str(n % 15)} for n in range(60)]
    assert len(read(host, file_of(tmp_path, "csv", many))[0]) == 60


@pytest.mark.parametrize("kind", ["csv", "numbers", "fractions", "texts"])
def test_names_of_numbers_hold_for_their_texts_and_one_without_a_name_is_refused(host, tmp_path, kind):
    path = file_of(tmp_path, kind, [classes(n) for n in range(30)])
    named, advice = read(host, path, ['data.labels.label={0="no", 1="yes", 2="unknown"}'])
    assert [answer for _question, answer in named[:3]] == ["no", "yes", "unknown"]
    assert not advice
    with pytest.raises(DataError, match=r"10 of 30 .*column 'label' holds numbers.*data\.labels\.label=\{2="):
        read(host, path, ['data.labels.label={0="no", 1="yes"}'])


def test_names_hold_for_numbers_as_tables_with_gaps_write_them(host, tmp_path):
    rows = [{"text": f"Report {n}.", "label": f"{n % 2}.0"} for n in range(10)]
    named, _advice = read(host, file_of(tmp_path, "csv", rows), ['data.labels.label={0="no", 1="yes"}'])
    assert {answer for _question, answer in named} == {"no", "yes"}


def test_measurements_are_no_codes(host, tmp_path):
    rows = [{"question": f"How many {n}?", "answer": n} for n in range(40)]
    assert read(host, file_of(tmp_path, "numbers", rows))[1] == []
