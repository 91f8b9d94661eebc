"""Specs and files of rows to prepare, and what was made of them."""

import json

from medtune import DataSpec, EvalSpec, RunSpec, TrainSpec


def file_of(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def spec_of(source="rows", **data):
    data = {"max_quarantined": 0.0, "accept_loss": True, **data}
    train = TrainSpec(max_length=data.pop("max_length", 1024), packing=data.pop("packing", True))
    return RunSpec(data=DataSpec(source=source, **data), train=train, eval=EvalSpec(rows_per_source=20))


def ids_of(prepared):
    """Return row id -> the ids that are trained on."""
    found = {}
    for index in range(len(prepared.rows)):
        row, start = prepared.rows[index], 0
        for length, sample in zip(row.lengths, row.samples, strict=True):
            found[prepared.rows.row_id(sample)] = list(row.input_ids[start : start + length])
            start += length
    return found
