"""Writes the report of an opened run anew, from what its folder holds now."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.export.report import write_report
from medtune.plugins.host import PluginHost
from medtune.runs.folder import RunFolder
from medtune.runs.log import RunLog
from medtune.runs.record.recording import recorded
from medtune.workflow.scoring import compare_kept

__all__ = ["report_run"]


def report_run(
    folder: RunFolder, record: Mapping[str, Any], host: PluginHost, *, seed: int, show_texts: bool | None
) -> Path:
    """Write ``report.html`` and return its path; see ``Run.report``."""
    kept = compare_kept(folder.evaluation_dir, host.all("task"), seed)
    record = {**record, "comparison": kept.to_json() if kept is not None else {}}
    with recorded(folder.path, "report", (folder.report_path.name,)):
        return write_report(folder.path, record=record, log=RunLog(folder.log_path).read(), show_texts=show_texts)
