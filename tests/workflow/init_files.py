"""Small files as people have them, each written into a folder for ``medtune init``."""

import csv
import gzip
import json
from pathlib import Path

from medtune.data.importers.importing import import_file
from medtune.data.importers.options import ImportOptions, Task
from medtune.data.importers.reading import Input

MARKED = Path(__file__).parents[1] / "data" / "importers" / "files"
WORDS = ("gout", "asthma", "migraine", "anaemia", "eczema", "angina", "sepsis", "rubella")


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def notes(folder):
    """Ten notes of four sentences each, marked in BRAT and imported: rows of NER with a document."""
    brat = folder / "notes"
    brat.mkdir()
    for number in range(10):
        lines = [f"Visit {i} : the patient has {WORDS[(number + i) % 8]} again ." for i in range(4)]
        text = "\n".join(lines)
        marks = [(text.index(line) + line.index("has ") + 4, line.split()[-3]) for line in lines]
        (brat / f"n{number}.txt").write_text(text)
        found = (f"T{i}\tDisease {at} {at + len(word)}\t{word}\n" for i, (at, word) in enumerate(marks))
        (brat / f"n{number}.ann").write_text("".join(found))
    import_file(Input(brat), folder / "notes.jsonl")
    return folder / "notes.jsonl"


def medmcqa(folder):
    rows = [
        {"question": f"Which of these is {WORDS[i % 8]}?", **{f"op{c}": WORDS[(i + k) % 8] for k, c in enumerate("abcd")},
         "cop": i % 4, "exp": None}
        for i in range(40)
    ]  # fmt: skip
    return jsonl(folder / "medmcqa.jsonl", rows)


def _table(folder):
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["instruction", "input", "output", "source"])
        writer.writerows(["Name it.", f"He has {WORDS[i % 8]}.", WORDS[i % 8], "ward"] for i in range(40))
    return folder / "table.csv"


def _packed(folder):
    with gzip.open(folder / "packed.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"question": f"Is {w} rare?", "answer": "yes"}) + "\n" for w in WORDS * 5)
    return folder / "packed.jsonl.gz"


def _folder(folder):
    (folder / "sets").mkdir()
    jsonl(folder / "sets" / "train.jsonl", [{"prompt": f"Spell {w}.", "completion": w} for w in WORDS * 5])
    jsonl(folder / "sets" / "dev.jsonl", [{"prompt": f"Write {w}.", "completion": w} for w in WORDS])
    return folder / "sets"


def _beside(folder):
    jsonl(folder / "dev.jsonl", [{"question": f"Is {w} bad?", "answer": "no"} for w in WORDS])
    return jsonl(folder / "train.jsonl", [{"question": f"Is {w} rare?", "answer": "yes"} for w in WORDS * 5])


def _messages(folder):
    turns = [[{"role": "user", "content": f"Spell {w}."}, {"role": "assistant", "content": w}] for w in WORDS * 5]
    return jsonl(folder / "messages.jsonl", [{"messages": t} for t in turns])


def _pubmedqa(folder):
    row = {"context": {"contexts": ["Iron was given.", "They improved."]}, "long_answer": "It helps."}
    rows = [{**row, "question": f"Does iron help in {w}?", "final_decision": "yes"} for w in WORDS * 5]
    (folder / "pubmedqa.json").write_text(json.dumps(rows))
    return folder / "pubmedqa.json"


def _medqa(folder):
    options = dict(zip("ABCDE", WORDS, strict=False))
    rows = [{"question": f"Case {i}?", "options": options, "answer_idx": "ABCDE"[i % 5]} for i in range(40)]
    return jsonl(folder / "medqa.jsonl", rows)


def _parquet(folder):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"instruction": f"Spell {w}.", "output": w, "patient_id": i // 4} for i, w in enumerate(WORDS * 5)]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return folder / "rows.parquet"


def _imported(name, task=None):
    def write(folder):
        target = folder / f"{name.partition('.')[0]}.jsonl"
        import_file(Input(MARKED / name), target, ImportOptions(task=task))
        rows = target.read_text("utf-8")
        target.write_text(rows * (40 // rows.count("\n") + 1), "utf-8")
        return target

    return write


FILES = {
    "notes": notes,
    "medmcqa": medmcqa,
    "csv": _table,
    "gzip": _packed,
    "folder": _folder,
    "beside": _beside,
    "messages": _messages,
    "pubmedqa": _pubmedqa,
    "medqa": _medqa,
    "parquet": _parquet,
    "conll": _imported("conll2003.txt"),
    "relations": _imported("pubtator_cdr.txt", Task.RELATION),
    "bigbio-qa": _imported("bigbio_qa_choice.json"),
}
"""Kind -> writes one and returns its path."""
