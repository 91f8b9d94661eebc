"""The log of a run: one JSON object a line, durable line by line."""

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError
from medtune.machine.owner_only import open_descriptor
from medtune.runs.durable import Pause, attempt, replace_file

__all__ = ["RunLog"]


class RunLog:
    """``log.jsonl`` of a run; one process appends, any number read."""

    def __init__(self, path: Path, pause: Pause = time.sleep) -> None:
        self.path, self._pause = Path(path), pause
        self._size: int | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Write ``record`` as one line and sync it.

        A number that is not finite is written as the string "NaN", "Infinity" or "-Infinity", because JSON has none.

        Raises:
            WriteFailedError: the system refused the write; no part of the line stays.
        """
        line = json.dumps(_spelled(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        attempt(lambda: self._append_once(line), "the log", self.path, self._pause)

    def read(self) -> list[dict[str, Any]]:
        """Return the records in order; a last line that a crash cut short is left out, a missing file is empty.

        Raises:
            DamagedArtifactError: a line before the last one is no JSON object.
        """
        return [json.loads(line) for line in self._whole_lines()]

    def keep_until(self, step: int) -> None:
        """Drop, at once or not at all, the records of later steps than ``step``, before a resumed run repeats them."""
        kept = [line for line in self._whole_lines() if json.loads(line).get("step", 0) <= step]
        content = b"".join(line + b"\n" for line in kept)
        if self.path.exists() and self.path.read_bytes() != content:
            replace_file(self.path, content, "the log", self._pause)
        self._size = None

    def _whole_lines(self) -> list[bytes]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        lines = content.split(b"\n")[:-1]  # what follows the last newline was cut short
        for number, line in enumerate(lines, 1):
            if not _is_object(line):
                raise DamagedArtifactError(
                    str(self.path.parent), self.path.name, f"has no JSON object in line {number}"
                )
        return lines

    def _append_once(self, line: bytes) -> None:
        descriptor = open_descriptor(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            if self._size is None:
                self._size = _whole_size(descriptor)
            os.ftruncate(descriptor, self._size)  # an earlier attempt, or a killed process, may have left a part
            written = os.write(descriptor, line)
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
            self._size += len(line)
        finally:
            os.close(descriptor)


def _whole_size(descriptor: int) -> int:
    """Return the number of bytes up to the last newline."""
    size = os.fstat(descriptor).st_size
    position = size
    while position > 0:
        start = max(0, position - 65536)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): _spelled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(item) for item in value]
    return value
