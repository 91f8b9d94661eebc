"""What an audit is asked, and by whom its model is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medtune.errors import SpecError
from medtune.plugins.contracts import Loaded
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.specs import RunSpec
from medtune.workflow.given_rows import Rows

__all__ = ["CANDIDATES", "ROWS", "AuditRequest"]

ROWS = 200
"""Rows per source that are compared on each side, at most."""
CANDIDATES = 256
"""Other secrets that each canary is held against."""
_LEAST_CANDIDATES, _MOST_CANDIDATES = 32, 100_000


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What is asked.

    Attributes:
        folder: the run.
        record: its ``run.json``.
        spec: its spec.
        host: its plugins.
        loaded: returns base and adapter in memory.
        rows_per_source: rows of each source that are compared, on each side.
        candidates: other secrets that each canary is held against.
        rows: the training rows that the run was given in Python, where it could not keep them.
        on_stage: called with a sentence when something begins.
    """

    folder: RunFolder
    record: Mapping[str, Any]
    spec: RunSpec
    host: PluginHost
    loaded: Callable[[], Loaded]
    rows_per_source: int = ROWS
    candidates: int = CANDIDATES
    rows: Rows | None = None
    on_stage: Callable[[str], None] = lambda _sentence: None

    def __post_init__(self) -> None:
        if self.rows_per_source < 1:
            raise SpecError(f"rows_per_source (--rows) is {self.rows_per_source}; give 1 or more")
        if not _LEAST_CANDIDATES <= self.candidates <= _MOST_CANDIDATES:
            raise SpecError(
                f"candidates (--candidates) is {self.candidates:,}; give {_LEAST_CANDIDATES} to {_MOST_CANDIDATES:,}"
            )
