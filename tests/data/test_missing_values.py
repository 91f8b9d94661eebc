"""What a table writes where there is no value is never trained on: errors of a spreadsheet, in any language, and gaps."""

import csv

import pytest

from medtune import DataSpec
from medtune.data.account import Account
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.data.shaping import stands_for_nothing

ERRORS = [
    "#N/A",
    "#REF!",
    "#DIV/0!",
    "#VALUE!",
    "#NAME?",
    "#NUM!",
    "#NULL!",
    "#SPILL!",
    "#NV",
    "#WERT!",
    "#¡VALOR!",
    " #N/A ",
]


def asked(number, **more):
    return {"question": f"What is drug {number} for?", "answer": f"It treats condition {number} in adults.", **more}


def read(host, source, **spec):
    """Return the examples, the reasons of those set aside, and column -> missing values."""
    account = Account()
    quarantine = Quarantine(None, 1.0, account=account)
    examples = list(training_examples(DataSpec(source=source, **spec), host, quarantine, 0))
    missing = {column["column"]: column["missing"] for column in account.to_json()[0]["columns"]}
    return examples, dict(quarantine.reasons), missing


def table(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(path)
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for number, row in enumerate(rows, start=2):
        book.active.append(list(row.values()))
        for cell in book.active[number]:
            if (
                isinstance(cell.value, str)
                and cell.value.startswith("#")
                and cell.value in openpyxl.cell.cell.ERROR_CODES
            ):
                cell.data_type = "e"
    book.save(path)
    return str(path)


@pytest.mark.parametrize("name", ["rows.csv", "rows.xlsx"])
def test_the_error_of_a_spreadsheet_is_a_missing_value_and_no_answer(host, tmp_path, name):
    rows = [asked(i, context=f"Ward {i} reports.") for i in range(60)]
    for place, error in enumerate(ERRORS):
        rows[4 * place]["answer"] = error
        rows[4 * place + 1]["context"] = error
    examples, reasons, missing = read(host, table(tmp_path / name, rows))
    assert len(examples) == 60 - len(ERRORS)
    assert not any("#" in message["content"] for example in examples for message in example.messages)
    assert missing == {"question": 0, "context": len(ERRORS), "answer": len(ERRORS)}
    assert reasons["column 'answer' holds '#N/A', which stands for a missing value"] == 2
    assert sum(reasons.values()) == len(ERRORS)


def test_an_answer_inside_turns_is_held_to_the_same_rule(host, tmp_path):
    import json

    turns = [{"role": "user", "content": "What now?"}, {"role": "assistant", "content": "#VALUE!"}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": turns}), "utf-8")
    quarantine = Quarantine(None, 1.0)
    assert not list(training_examples(DataSpec(source=str(path)), host, quarantine, 0))
    assert dict(quarantine.reasons) == {"the answer is '#VALUE!', which stands for a missing value": 1}


@pytest.mark.parametrize("text", ["#1 cause of death is #N/A", "#", "#PAIN", "#heart!", "Na", "C#", "#N/A mg"])
def test_other_texts_stand_for_themselves(text):
    assert not stands_for_nothing(text)


@pytest.mark.parametrize("gap", ["", None, "#N/A"])
def test_options_keep_their_letters_where_a_column_has_a_gap(host, tmp_path, gap):
    rows = [
        {"question": f"Which {i}?", "A": f"one {i}", "B": f"two {i}", "C": f"three {i}", "answer": "C"}
        for i in range(40)
    ]
    rows[3]["B"] = rows[5]["C"] = gap
    rows[5]["answer"] = "B"
    examples, reasons, _missing = read(host, table(tmp_path / "rows.xlsx", rows), columns={"options": ["A", "B", "C"]})
    assert reasons == {"column 'options' holds options that are not text": 1}
    assert "B. two 5" in examples[4].messages[0]["content"]
    assert "C." not in examples[4].messages[0]["content"]
    assert "OPTION B" in examples[4].messages[1]["content"]
