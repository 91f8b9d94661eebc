"""What one worker does: train its share of the run, and say what a restart would not mend."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune_ray.notes import Notes

__all__ = ["WorkerError", "train_share"]

_LOCK_WAIT = 60.0  # seconds that the worker before may take to end
_ASKED = ("cancel", "time limit")
"""How the reasons begin for which a run was stopped on purpose; after any other it goes on with new workers."""


class WorkerError(Exception):
    """A worker stopped; the text of what stopped it is left out, since it may quote a row."""


def train_share(config: Mapping[str, Any]) -> None:
    """Train as one of the workers that Ray started; a run that an earlier set of workers began is resumed.

    Args:
        config: ``spec`` (its values), ``notes`` (folder) and ``directory`` (that relative paths begin at).

    Raises:
        WorkerError: it stopped before the end; Ray starts the workers again.
    """
    from medtune import MedTuner, RunSpec
    from medtune.errors import MedtuneError, RunInterruptedError

    notes = Notes(Path(config["notes"]))
    if notes.verdict is not None or notes.is_asked_to_stop:
        return
    if os.environ.get("RANK", "0") == "0":
        notes.begin()
    os.chdir(config["directory"])
    try:
        _train(MedTuner(RunSpec.model_validate(config["spec"])))
    except RunInterruptedError as error:
        if error.reason.startswith(_ASKED):
            notes.decide(type(error).__name__, str(error), error.exit_code)
        raise WorkerError(str(error)) from None
    except MedtuneError as error:
        notes.decide(type(error).__name__, str(error), error.exit_code)
        raise WorkerError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - its text may quote a row, and Ray writes it into its logs
        raise WorkerError(f"an unforeseen {type(error).__name__} at {_place(error)}") from None


def _train(tuner: Any) -> None:
    """Train once the folder is free: the kernel frees it when the worker that held it has ended."""
    from medtune.errors import RunLockedError

    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            tuner.train(quiet=True)
        except RunLockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _place(error: BaseException) -> str:
    """Return file and line where an error came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return (
        f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else "an unknown place"
    )
