"""Tells the chosen run how it was chosen, so that its own report says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.export.report import write_report
from medtune.runs.folder import RunFolder
from medtune.runs.lock import RunLock
from medtune.runs.log import RunLog
from medtune.runs.record.recording import recorded

__all__ = ["note_choice"]


def note_choice(run: Path, chosen: Mapping[str, Any]) -> None:
    """Keep in a finished run's record by what it was chosen, and write its report anew."""
    folder = RunFolder(run)
    with RunLock(run), recorded(run, "sweep", (folder.record_path.name, folder.report_path.name)):
        record = folder.update(chosen=dict(chosen))
        write_report(run, record=record, log=RunLog(folder.log_path).read())
