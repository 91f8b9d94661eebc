"""Does a finished run once more, in a new folder, and compares what comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.errors import SpecError
from medtune.runs.folder import RunFolder
from medtune.workflow.given_rows import Rows, rows_again
from medtune.workflow.same_results import compare_results
from medtune.workflow.session import Session

if TYPE_CHECKING:
    from medtune.workflow.run import Run

__all__ = ["reproduce_run"]


def reproduce_run(
    run: "Run",
    out: Path | None = None,
    rows: Rows | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train the recorded spec again, rows that were given in Python included; no tracker is told of it.

    A reproduction that was interrupted goes on.

    Args:
        run: a finished one.
        out: folder of the second run; None is the first one's with "-again" behind it.
        rows: the training rows, where they were given in Python and not kept.
        on_stage: called with a sentence when something begins.

    Returns:
        What ``compare_results`` says, with ``run`` and ``again``, the two folders.

    Raises:
        SpecError: the run is not finished, was adopted, or ``out`` is the run itself.
        DataError: rows that were given in Python are gone.
    """
    folder, spec = RunFolder(run.path), run.spec
    record = folder.read()
    if record["state"] != "finished":
        raise SpecError(f"run '{folder.path}' is {record['state']}; finish it before it is reproduced")
    if "adopted" in record:
        raise SpecError(f"run '{folder.path}' adopted an adapter and trained nothing that could be reproduced")
    place = out or folder.path.with_name(f"{folder.path.absolute().name}-again")
    if place.absolute() == folder.path.absolute():
        raise SpecError(f"'{place}' is the run itself; choose another --out")
    given = rows_again(folder.path, record, rows)
    train = spec.train.model_copy_with(report_to=())
    again = spec.model_copy_with(output_dir=str(place), train=train)
    told = {"on_stage": on_stage} if on_stage else {}
    Session(again, run.host, given, listeners=told, progress="silent").train()
    return {"run": str(folder.path), "again": str(place), **compare_results(folder, RunFolder(place))}
