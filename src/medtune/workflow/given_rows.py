"""Rows that were given in Python instead of a source: named by their content, and kept where evaluation finds them again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError, DataError
from medtune.runs.durable import replace_file

__all__ = ["GIVEN_FILE", "keep_rows", "rows_again"]

Rows = Iterable[Mapping[str, Any]]

GIVEN_FILE = "given-rows.jsonl"
"""In a run folder, readable by its owner only: they may be patients' texts."""
_MOST_BYTES = 256 * 2**20


def keep_rows(folder: Path, rows: Rows) -> dict[str, Any]:
    """Name rows by their content, and keep them in the run folder where they are JSON and not too many.

    Returns:
        ``sha256`` over the rows, ``rows`` (their number), and ``file``, None where they are gone when this process ends.

    Raises:
        WriteFailedError: they cannot be written.
    """
    digest, count, kept = hashlib.sha256(), 0, list[bytes]()
    size, are_json = 0, True
    for row in rows:
        line, is_json = _line_of(row)
        digest.update(line)
        count, size, are_json = count + 1, size + len(line), are_json and is_json
        if are_json and size <= _MOST_BYTES:
            kept.append(line)
    whole = are_json and size <= _MOST_BYTES
    if whole:
        replace_file(folder / GIVEN_FILE, b"".join(kept), "the rows given in Python")
    return {"sha256": digest.hexdigest(), "rows": count, "file": GIVEN_FILE if whole else None}


def rows_again(folder: Path, record: Mapping[str, Any], given: Rows | None = None) -> list[Mapping[str, Any]] | None:
    """Return the rows that a run was given in Python; None where it read a source.

    Args:
        folder: the run folder.
        record: content of its ``run.json``.
        given: the rows, given again.

    Raises:
        DataError: they were not kept, or those given now are others.
        DamagedArtifactError: those that were kept are no longer what they were.
    """
    known: Mapping[str, Any] | None = record.get("given_rows")
    if known is None:
        # Records of before say nothing of rows given in Python but this source's name, which may also be a path.
        was_given = "given_rows" not in record and record["spec"]["data"]["source"] == "rows"
        if was_given and given is None:
            raise DataError(f"the rows of run '{folder}' were given in Python and are gone; give them again with rows=")
        return None if given is None else list(given)
    if given is not None:
        rows = list(given)
        if _digest(rows) != known["sha256"]:
            raise DataError(
                f"these are not the {known['rows']:,} rows that run '{folder}' was given; give it the same rows"
            )
        return rows
    if known["file"] is None or not (folder / known["file"]).is_file():
        raise DataError(
            f"the {known['rows']:,} rows of run '{folder}' were given in Python and not kept; give them again with rows="
        )
    content = (folder / known["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != known["sha256"]:
        raise DamagedArtifactError(str(folder), known["file"], "is not what was written")
    return [json.loads(line) for line in content.splitlines()]


def _digest(rows: Rows) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_line_of(row)[0])
    return digest.hexdigest()


def _line_of(row: Any) -> tuple[bytes, bool]:
    """Return a row as a line, and whether that is JSON which reads as the same row again."""
    try:
        values = dict(row)
        line = json.dumps(values, ensure_ascii=True)
        same = json.loads(line) == values
    except (TypeError, ValueError):
        line, same = repr(row), False
    return line.encode("utf-8", "surrogatepass") + b"\n", same
