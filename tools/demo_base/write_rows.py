"""Writes the sample rows that the package carries: ``python -m demo_base.write_rows``."""

import gzip
import json
import random
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from demo_base.generator import generate_rows

__all__ = ["TRAINING_ROWS", "sample_rows", "write_sample_rows"]

TRAINING_ROWS = {
    "demo-ner-disease": 350,
    "demo-ner-chemical": 350,
    "demo-relation": 1200,
    "demo-nli": 2000,
    "demo-hallmarks": 1200,
    "demo-qa": 1600,
}
"""Rows per source: fewer where an answer has many tokens to learn from, more where it is one label."""

_TEST_ROWS = 40
_SEEDS = {"train": 1, "test": 7}


def sample_rows(split: str) -> list[dict[str, str]]:
    """Return the rows of "train" or "test" in a seeded order."""
    wanted = TRAINING_ROWS if split == "train" else dict.fromkeys(TRAINING_ROWS, _TEST_ROWS)
    left, rows = dict(wanted), list[dict[str, str]]()
    for row in generate_rows("train" if split == "train" else "test", max(wanted.values()), _SEEDS[split]):
        if left[row["source"]]:
            left[row["source"]] -= 1
            rows.append(row)
    random.Random(_SEEDS[split]).shuffle(rows)
    return rows


def write_sample_rows(folder: Path) -> None:
    """Write every split as ``SPLIT.jsonl.gz``; the same rows give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in _SEEDS:
        (folder / f"{split}.jsonl.gz").write_bytes(_packed(sample_rows(split)))


def _packed(rows: Iterable[Mapping[str, str]]) -> bytes:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return gzip.compress(lines.encode(), mtime=0)


if __name__ == "__main__":
    write_sample_rows(Path(str(files("medtune.demo"))) / "rows")
