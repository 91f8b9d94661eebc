"""What libraries raise of rows is told by type and place: its text may be a patient's."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medtune.cli.app import app, run
from medtune.errors import DataError
from medtune.workflow.state import failure

CANARY = "PATIENT-4711-HAS-A-FEVER"
ROW = json.dumps({"instruction": CANARY, "input": CANARY, "output": CANARY})


def damaged_files(folder):
    """Return files that hold the canary, each damaged so that a library complains of it."""
    table = pa.table({"instruction": [CANARY] * 200, "output": [CANARY] * 200})
    pq.write_table(table, folder / "whole.parquet", compression="none")
    with pa.OSFile(str(folder / "whole.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    texts = {
        "cut.jsonl": ROW[:-5] + "\n" + ROW[: len(ROW) // 2],
        "cut.json": f"[{ROW}, {ROW[:-9]}",
        "number.jsonl": ROW[:-1] + f', "n": 1{CANARY}}}',
        "columns.csv": f'instruction,output\n"{CANARY}\n{CANARY},"{CANARY}" {CANARY},"\n',
        "deep.jsonl": '{"' + CANARY + '": ' + "[" * 5000 + f'"{CANARY}"',
        "surrogate.jsonl": ROW.replace("HAS", "\\ud800") + "\n",
    }
    contents = {name: text.encode() for name, text in texts.items()}
    contents["cut.jsonl.gz"] = gzip.compress((ROW + "\n").encode() * 50, 0)[:-20]
    contents["encoding.jsonl"] = ROW.replace("FEVER", "FI\xc8VRE").encode("latin-1") + b"\n"
    contents["cut.parquet"] = (folder / "whole.parquet").read_bytes()[:-30]
    contents["cut.arrow"] = (folder / "whole.arrow").read_bytes()[:2000]
    contents["none.xlsx"] = f"PK\x03\x04{CANARY}".encode() * 9
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(contents)


def test_no_damaged_file_is_quoted_whichever_library_reads_it(tmp_path, capsys):
    names = damaged_files(tmp_path)
    assert len(names) > 10
    for name in names:
        code = run(["preview", "--bundle", "demo", "--set", f"data.source={tmp_path / name}", "--json"])
        out, told = capsys.readouterr()
        assert CANARY not in told, name
        assert "4711" not in told, name
        assert code == 3 or name == "surrogate.jsonl", (name, code, told)
        assert code == 0 or "4711" not in out, name


def test_an_error_that_nobody_foresaw_is_told_by_its_type_and_place(capsys):
    @app.command()
    def fail(as_json: bool = False) -> None:
        _ = {}[CANARY] if not as_json else 0

    try:
        assert run(["fail"]) == 1
    finally:
        app.registered_commands.pop()
    told = capsys.readouterr()
    assert CANARY not in told.err + told.out
    assert "unexpected KeyError at test_texts_of_errors.py:" in told.err


@pytest.mark.parametrize("error", [KeyError(CANARY), ValueError(CANARY), OSError(2, CANARY)])
def test_a_record_keeps_no_text_of_anothers_error(error):
    with pytest.raises(type(error)) as raised:
        raise error
    told = failure(raised.value)
    assert CANARY not in json.dumps(told)
    assert told["message"].startswith("at test_texts_of_errors.py:")
    assert failure(DataError("rows are missing"))["message"] == "rows are missing"
