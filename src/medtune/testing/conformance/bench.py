"""What the checks of a plugin share: a folder, the tiny base, and what was seen while plugin code ran."""

import contextlib
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["CANARY", "Bench", "Seen"]

CANARY = "Zylkrantz-7731"
"""Stands in rows as a patient's name would; nothing but an example may hold it."""


@dataclass
class Seen:
    """What was seen while a thing was called, over all checks.

    Attributes:
        printed: the first text that it put on stdout.
        quoted: where the text of a row was repeated.
        network: what it tried to reach.
        left: what it left behind.
        ended: how it tried to end the process, or that it did not end in time.
    """

    printed: list[str] = field(default_factory=list[str])
    quoted: list[str] = field(default_factory=list[str])
    network: list[str] = field(default_factory=list[str])
    left: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])


class Bench:
    """Shared by all checks; its folder goes with it."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.kept: dict[tuple[str, str], Any] = {}
        self._held = contextlib.ExitStack()

    @cached_property
    def folder(self) -> Path:
        """A folder for what checks write."""
        return Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="medtune-kit-")))

    def fresh(self, name: str) -> Path:
        """Return a new, empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def of(self, label: str) -> Seen:
        """Return what was seen of a thing."""
        return self.seen.setdefault(label, Seen())

    def close(self) -> None:
        """Remove the folder."""
        self._held.close()
