"""From what a caller writes of a sweep to the sweep: its settings, its folder, and the figure that chooses."""

from pathlib import Path
from typing import Unpack

from medtune.errors import UnknownKeyError
from medtune.machine.owner_only import refuse_in_run
from medtune.plugins.host import PluginHost
from medtune.specfile import merge
from medtune.specs import RunSpec
from medtune.workflow.options import Rows, SweepOptions
from medtune.workflow.sweep.settings import Grid, settings_of
from medtune.workflow.sweep.sweep import Sweep, SweepRequest, sweep

__all__ = ["begin_sweep"]


def begin_sweep(
    spec: RunSpec,
    host: PluginHost,
    grid: Grid,
    out: str | Path | None,
    rows: Rows | None,
    **options: Unpack[SweepOptions],
) -> Sweep:
    """Try settings of a spec; see ``MedTuner.sweep``."""
    if unknown := options.keys() - SweepOptions.__annotations__.keys():
        raise UnknownKeyError(min(unknown), "sweep()", SweepOptions.__annotations__)
    folder = Path(out if out is not None else f"{spec.output_dir}-sweep")
    refuse_in_run(folder)
    halving = options.get("halving", False)
    by = options.get("by") or ("loss" if halving else "macro")
    values = spec.model_dump(mode="json", exclude_unset=True)
    if by == "loss":
        values = merge(values, {"eval": {"loss": True}})
    settings = settings_of(values, grid, folder, options.get("random"), spec.seed)
    given = list(rows) if rows is not None and iter(rows) is rows else rows  # every setting reads them
    progress = options.get("progress", "auto")
    return sweep(SweepRequest(folder, settings, host, halving, by, given, progress))
