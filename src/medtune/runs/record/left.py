"""Whether what a command goes on with is as the last one left it: a file that is added to would carry an edit along."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.errors import DamagedArtifactError
from medtune.runs.record.chain import Chain
from medtune.runs.record.tree import LOG, RECORD, Entry, begins_with, measured
from medtune.runs.record.writers import Writer
from medtune.specs.bounded import json_file

__all__ = ["require_as_left", "require_not_lost"]

_RUN = "run.json"


def require_not_lost(folder: Path) -> None:
    """Refuse a run that kept a record and has none: another one would take in whatever lies there.

    Raises:
        DamagedArtifactError: it is gone.
    """
    try:
        run: Any = json_file(folder / _RUN)
    except (OSError, ValueError):  # whoever reads it says so
        return
    if isinstance(run, dict) and "record" in run:
        raise DamagedArtifactError(str(folder), RECORD, "is missing: the run kept a record")


def require_as_left(folder: Path, chain: Chain, writer: Writer, others: Sequence[Writer]) -> None:
    """Refuse a log whose recorded lines were edited, and a ``run.json`` that no command left so, before they are gone on with.

    After a killed command a log may be longer than it was recorded, or cut to where training goes on from.

    Args:
        folder: the run folder.
        chain: its record.
        writer: what the command may write.
        others: the marks in the folder.

    Raises:
        DamagedArtifactError: one of them.
    """
    if writer.may_write(_RUN) and _RUN in chain.files and not _wrote(others, _RUN):
        now = measured(folder, [_RUN]).get(_RUN)
        if now is not None and now != chain.files[_RUN]:
            raise DamagedArtifactError(str(folder), _RUN, "is not as the last command left it: its SHA-256 differs")
    if not writer.may_write(LOG) or LOG not in chain.files:
        return
    size = (folder / LOG).stat().st_size if os.path.lexists(folder / LOG) else 0
    known = chain.files[LOG]
    if size < known.bytes and _wrote(others, LOG):
        known = next((entry for entry in _earlier(chain) if entry.bytes <= size), Entry(0, ""))
    elif size > known.bytes and not _wrote(others, LOG):
        known = Entry(size, known.sha256)  # lines that nobody was there to add
    if known.bytes and not begins_with(folder / LOG, known):
        raise DamagedArtifactError(str(folder), LOG, "is not as the last command left it: lines in it were edited")


def _wrote(others: Sequence[Writer], name: str) -> bool:
    return any(writer.may_write(name) for writer in others)


def _earlier(chain: Chain) -> list[Entry]:
    """Return what the log was at each line of the record, the newest first."""
    return [line.change.changed[LOG] for line in reversed(chain.lines) if LOG in line.change.changed]
