"""The notes that workers leave for who started them: how often they began, and why going on is no use."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["Notes"]

_BEGUN, _VERDICT, _STOP = "begun", "verdict.json", "stop"


class Notes:
    """A folder beside the run, of its owner alone, on the file system that all workers share.

    Ray restarts workers whatever they failed of. A verdict says that the next ones need not try: the spec is wrong, the data
    cannot be used, or somebody asked to stop.

    Args:
        folder: where the notes lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clear(self) -> None:
        """Make the folder, and remove the notes of an earlier call."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for name in (_BEGUN, _VERDICT, _STOP):
            (self.folder / name).unlink(missing_ok=True)

    def begin(self) -> None:
        """Count a start of the first worker."""
        self._write(_BEGUN, "x", os.O_APPEND)

    @property
    def begun(self) -> int:
        """How often the first worker was started."""
        place = self.folder / _BEGUN
        return len(place.read_text()) if place.exists() else 0

    def ask_to_stop(self) -> None:
        """Let no further workers begin."""
        self._write(_STOP, "x", os.O_TRUNC)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether no further workers shall begin."""
        return (self.folder / _STOP).exists()

    def decide(self, kind: str, message: str, exit_code: int) -> None:
        """Keep why going on is no use; the first word counts."""
        if self.verdict is None:
            staged = f".{_VERDICT}-{os.getpid()}"
            self._write(staged, json.dumps({"type": kind, "message": message, "exit_code": exit_code}), os.O_TRUNC)
            (self.folder / staged).rename(self.folder / _VERDICT)

    @property
    def verdict(self) -> dict[str, Any] | None:
        """``type``, ``message`` and ``exit_code`` of an error that no restart mends."""
        place = self.folder / _VERDICT
        if not place.exists():
            return None
        found: dict[str, Any] = json.loads(place.read_text())
        return found

    def _write(self, name: str, text: str, how: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how
        descriptor = os.open(self.folder / name, flags, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
