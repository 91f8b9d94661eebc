"""A run that cannot begin or go on."""

import os
from collections.abc import Sequence

from medtune.errors.root import MedtuneError

__all__ = [
    "ForkedProcessError",
    "NonFiniteLossError",
    "NotReproducedError",
    "OtherProcessError",
    "OutOfMemoryError",
    "ProcessBusyError",
    "RunIdleError",
    "RunInterruptedError",
    "RunLockedError",
]


class RunLockedError(MedtuneError):
    """Another process writes to this run folder."""

    exit_code = 5

    def __init__(self, path: str, pid: int | None, host: str | None) -> None:
        self.path, self.pid, self.host = path, pid, host
        owner = f"process {pid} on host '{host}'" if pid else "another process"
        super().__init__(f"run folder '{path}' is in use by {owner}; wait for it to end or choose another output_dir")


class ProcessBusyError(RunLockedError):
    """This process trains another run; two in one process would draw from one another's generators."""

    def __init__(self, path: str, running: str) -> None:
        super().__init__(path, os.getpid(), None)
        self.running = running
        instead = "wait for that one to end, cancel it, or train in another process"
        self.args = (f"run '{path}' cannot begin while this process trains '{running}'; {instead}",)


class ForkedProcessError(MedtuneError):
    """This process was forked from one that had used a model, so torch would wait here for threads that are not there."""

    exit_code = 5

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(
            f"process {pid} was forked from one in which a model was used, and torch hangs in such a process; start it by "
            "multiprocessing.get_context('spawn'), or use no model before the fork"
        )


class RunIdleError(MedtuneError):
    """No training goes on in a run folder, so there is none to cancel."""

    exit_code = 5

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no process trains run '{path}', so there is nothing to cancel; check the path")


class OtherProcessError(MedtuneError):
    """Another of the processes that train together failed, so this one cannot go on either."""

    exit_code = 75

    def __init__(self, doing: str) -> None:
        self.doing = doing
        super().__init__(
            f"another process failed while all of them {doing}; its own error says why, and the same command goes on from the "
            "newest checkpoint"
        )


class NotReproducedError(MedtuneError):
    """A run that was done again gave something else; ``differs`` names the parts."""

    exit_code = 9

    def __init__(self, path: str, differs: Sequence[str]) -> None:
        self.path, self.differs = path, tuple(differs)
        instead = "compare packages and machine, which are named first"
        super().__init__(f"run '{path}' did not come out equal: {', '.join(self.differs)} differ; {instead}")


class NonFiniteLossError(MedtuneError):
    """The loss or a gradient became NaN or infinite; nothing was updated with it."""

    exit_code = 7

    def __init__(self, step: int, quantity: str, row_ids: Sequence[str] = ()) -> None:
        self.step, self.quantity, self.row_ids = step, quantity, tuple(row_ids)
        shown = ", ".join(self.row_ids[:8]) + (", ..." if len(self.row_ids) > 8 else "")  # noqa: PLR2004
        rows = f" (rows {shown})" if self.row_ids else ""
        instead = (
            "lower train.learning_rate, inspect these rows, or go on without such updates by train.on_nonfinite=skip"
        )
        kept = "the step was not applied and the last checkpoint is kept"
        super().__init__(f"{quantity} is not finite at step {step}{rows}; {kept}: {instead}")


class OutOfMemoryError(MedtuneError):
    """The run does not fit into the memory of the device."""

    exit_code = 8


class RunInterruptedError(MedtuneError):
    """The run stopped on a signal, a request to cancel or a time limit; the same command resumes it from its newest checkpoint, where it has one.

    ``saved`` is the step of that checkpoint, None without one.
    """

    exit_code = 75

    def __init__(self, path: str, step: int, reason: str, saved: int | None = None) -> None:
        self.path, self.step, self.reason, self.saved = path, step, reason, saved
        if reason == "SIGINT":
            self.exit_code = 130  # what shells expect after Ctrl-C
        stopped = f"run '{path}' was interrupted at step {step} ({reason})"
        if saved is None:
            super().__init__(f"{stopped} and has no checkpoint; run it again to train from the beginning")
        elif saved < step:
            super().__init__(
                f"{stopped}; its newest checkpoint is that of step {saved}: run it again to resume from there"
            )
        else:
            super().__init__(f"{stopped} and saved; run it again to resume")
