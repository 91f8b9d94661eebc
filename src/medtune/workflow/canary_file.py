"""Keeps the canaries of a run, secrets included, in a file that only its owner reads."""

import json
from pathlib import Path

from medtune.data.canaries import canaries_of
from medtune.runs.durable import replace_file
from medtune.specs import RunSpec

__all__ = ["CANARY_FILE", "keep_canaries"]

CANARY_FILE = "canaries.jsonl"
"""In a run folder: row id, name, secret and repeats of each canary."""


def keep_canaries(folder: Path, spec: RunSpec) -> None:
    """Write the canaries of a run into its folder; nothing where none are planted.

    Raises:
        WriteFailedError: they cannot be written.
    """
    planted = canaries_of(spec.data.canaries, spec.seed)
    if not planted:
        return
    lines = [
        json.dumps({"row_id": each.row_id, "name": each.name, "secret": each.secret, "repeats": each.repeats})
        for each in planted
    ]
    replace_file(folder / CANARY_FILE, "".join(f"{line}\n" for line in lines).encode(), "the canaries")
