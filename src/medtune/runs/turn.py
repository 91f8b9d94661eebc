"""One training at a time in a process: each seeds its generators and sets up the libraries underneath."""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from medtune.errors import ProcessBusyError

__all__ = ["TrainingTurn"]

_GUARD = threading.Lock()
_UNDER_WAY: dict[int, str] = {}
"""Process id -> its run folder; by id, since a forked child inherits this, and not the training."""


class TrainingTurn:
    """The right to train in this process, held as a context manager.

    Raises:
        ProcessBusyError: at once, when another thread of this process holds it.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.run_dir = str(run_dir)

    def __enter__(self) -> Self:
        with _GUARD:
            if os.getpid() in _UNDER_WAY:
                raise ProcessBusyError(self.run_dir, _UNDER_WAY[os.getpid()])
            _UNDER_WAY[os.getpid()] = self.run_dir
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _GUARD:
            _UNDER_WAY.pop(os.getpid(), None)
