"""No document or patient stands on both sides of a split, however its rows write its name; a row without one is set aside."""

import json
import random

import pytest

from medtune import DataSpec
from medtune.data.examples import training_examples
from medtune.data.quarantine import Quarantine
from medtune.errors import DataError


def asked(number, **more):
    return {"question": f"What is drug {number} for?", "answer": f"It treats condition {number} in adults.", **more}


def sides(host, rows, fraction=0.2, **settings):
    """Return the questions of either side of the split."""
    spec = DataSpec(source="rows", document="patient", validation_fraction=fraction, **settings)
    return [
        {
            e.messages[0]["content"]
            for e in training_examples(spec, host, Quarantine(None, 0.0), 0, rows=rows, part=part)
        }
        for part in ("learned", "held out")
    ]


WAYS = {
    "numbers": [lambda n: n, float, str, lambda n: f"{n}.0"],
    "blanks and case": [lambda n: f"P-{n}", lambda n: f" P-{n}", lambda n: f"P-{n} ", lambda n: f"p-{n}"],
    "Unicode": [
        lambda n: f"Müller {n}",
        lambda n: f"MÜLLER  {n}",
        lambda n: f"Mu\u0308ller {n}",
        lambda n: f"müller\t{n}",
    ],
}


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_a_patient_is_one_patient_however_the_name_is_written(host, ways):
    rows = [asked(i, patient=ways[i % 4](1000 + i // 4)) for i in range(100)]
    learned, held_out = sides(host, rows)
    assert len(held_out) == 20
    patients = [{int(text.split()[3]) // 4 for text in side} for side in (learned, held_out)]
    assert not patients[0] & patients[1]


@pytest.mark.parametrize("blank", ["", "  ", None, float("nan"), "nan", "#N/A", "NULL"])
def test_a_row_that_names_no_patient_is_counted_and_never_a_patient_of_its_own(host, blank):
    rows = [asked(i, patient=f"p{i // 10}" if i % 10 == 0 else blank) for i in range(100)]
    with pytest.raises(DataError, match=r"90 of 100 rows .* column 'patient' \(data\.document\) is blank.*merged cell"):
        sides(host, rows)
    quarantine = Quarantine(None, 1.0)
    spec = DataSpec(source="rows", document="patient")
    assert len(list(training_examples(spec, host, quarantine, 0, rows=rows))) == 10
    assert quarantine.count == 90


def test_a_column_of_merged_cells_in_a_workbook_is_refused(host, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["patient", "question", "answer"])
    for i in range(30):
        book.active.append([i // 3, *asked(i).values()])
    for first in range(2, 32, 3):
        book.active.merge_cells(start_row=first, end_row=first + 2, start_column=1, end_column=1)
    book.save(tmp_path / "rows.xlsx")
    spec = DataSpec(source=str(tmp_path / "rows.xlsx"), document="patient")
    with pytest.raises(DataError, match=r"20 of 30 rows .* is blank"):
        list(training_examples(spec, host, Quarantine(None, 0.01), 0))


def test_a_patient_with_rows_of_several_sources_stands_on_one_side(host):
    draw = random.Random(0)
    rows = [
        asked(i, patient=f"p{draw.randrange(30)}", source=draw.choice(["ner", "qa", "rare"][: 2 + (i % 40 == 0)]))
        for i in range(300)
    ]
    patient = {row["question"]: row["patient"] for row in rows}
    learned, held_out = sides(host, rows, 0.1)
    assert held_out
    assert not {patient[text] for text in learned} & {patient[text] for text in held_out}


def test_two_sets_of_a_mix_number_their_patients_apart(host, tmp_path):
    for name in ("one", "two"):
        lines = [json.dumps(asked(f"{name} {i}", patient=i // 2)) for i in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    one, two = (str(tmp_path / f"{name}.jsonl") for name in ("one", "two"))
    spec = DataSpec(
        source=one, document="patient", mix=[{"source": two, "document": "patient"}], validation_fraction=0.1
    )
    held_out = list(training_examples(spec, host, Quarantine(None, 0.0), 0, part="held out"))
    assert {e.source for e in held_out} == {"one", "two"}
    assert {e.document for e in held_out if e.source == "one"} != {e.document for e in held_out if e.source == "two"}
