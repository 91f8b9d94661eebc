"""Writes the sample rows that the package carries: ``python -m medtune.demo.write_rows``."""

import gzip
import json
import random
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from medtune.demo.generator import generate_rows

__all__ = ["SAMPLES", "sample_rows", "write_sample_rows"]

SAMPLES = {"train": (600, 1), "test": (40, 7)}
"""Split -> rows per source and seed."""


def sample_rows(split: str) -> list[dict[str, str]]:
    """Return the rows of a split in a seeded order."""
    per_source, seed = SAMPLES[split]
    rows = list(generate_rows("train" if split == "train" else "test", per_source, seed))
    random.Random(seed).shuffle(rows)
    return rows


def write_sample_rows(folder: Path) -> None:
    """Write every split as ``SPLIT.jsonl.gz``; the same rows give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SAMPLES:
        (folder / f"{split}.jsonl.gz").write_bytes(_packed(sample_rows(split)))


def _packed(rows: Iterable[Mapping[str, str]]) -> bytes:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return gzip.compress(lines.encode(), mtime=0)


if __name__ == "__main__":
    write_sample_rows(Path(str(files("medtune.demo"))) / "rows")
