"""Keeps which rows of a run overlap, by their ids, readable by their owner only."""

import json
from collections.abc import Sequence
from pathlib import Path

from medtune.data.overlap import Pair
from medtune.runs.durable import attempt, replace_file

__all__ = ["keep_overlap"]


def keep_overlap(path: Path, pairs: Sequence[Pair]) -> None:
    """Write a JSON object a line: ids of an evaluation and a training row, the kind, whether that one is trained on.

    Without any pair no file is left.

    Raises:
        WriteFailedError: the file cannot be written.
    """
    if not pairs:
        attempt(lambda: path.unlink(missing_ok=True), "the overlap", path)
        return
    content = "".join(json.dumps(pair._asdict()) + "\n" for pair in pairs).encode()
    replace_file(path, content, "the overlap")
