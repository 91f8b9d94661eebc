"""A laboratory that kills, tears and starves a run at any of its file events, and tells what was left.

For authors of trainer backends and stores: a victim is a function ``(folder, options) -> JSON values`` that starts or
resumes a run. Each trial runs in a process forked from one that has the libraries loaded, so it takes seconds. Needs
Linux and a C compiler.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ["Fault", "FaultLab", "Outcome"]

_SHIM = Path(__file__).with_name("fault_shim.c")
_TIMEOUT = 120  # seconds a trial may take before it counts as hung


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the victim.

    Attributes:
        kind: "none"; "kill" before the chosen file event; "tear": half of what the file of the event
            holds beyond its last sync is lost, then the process is killed; "fail_once" and "fail_always": the call fails with ``errno``, in the second case every
            later one too.
        at: number of the file event, from 0.
        errno: error of a failing call.
        signal: name of a signal that is sent from outside: SIGKILL to one process, any other to all.
        after: seconds after the start at which it is sent.
        rank: process that the fault befalls, when there are several.
    """

    kind: Literal["none", "kill", "tear", "fail_once", "fail_always"] = "none"
    at: int = -1
    errno: int = 0
    signal: str | None = None
    after: float = 0.0
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial.

    Attributes:
        status: exit status of each process, negative for the number of the signal that ended it.
        result: what the victim returned (first process), None when it did not come to that.
        error: name, sentence and exit code of the error that ended it, empty when there was none.
        events: kinds of the file events of the process that the fault befell, one letter each: create, write, sync,
            rename, unlink, mkdir, ``d`` for rmdir, truncate. Empty after a kill.
        seconds: wall time of the trial.
        seconds_to_exit: from the signal to the end, None without one.
    """

    status: tuple[int, ...]
    result: Any = None
    error: Mapping[str, Any] = field(default_factory=dict[str, Any])
    events: str = ""
    seconds: float = 0.0
    seconds_to_exit: float | None = None

    @property
    def was_killed(self) -> bool:
        """Whether a signal that cannot be caught ended one of the processes."""
        return -signal.SIGKILL in self.status


class FaultLab:
    """Runs trials of one victim; a context manager.

    Args:
        victim: "module:function"; a function ``warm_up()`` of the same module is called once, to load libraries.
    """

    def __init__(self, victim: str) -> None:
        self.victim = victim
        self._server: subprocess.Popen[str] | None = None
        self._workshop = ""

    def __enter__(self) -> Self:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not sys.platform.startswith("linux") or compiler is None:
            raise OSError("faults are injected on Linux only, and need a C compiler (cc or gcc)")
        self._workshop = tempfile.mkdtemp(prefix="medtune-faults-")
        shim = Path(self._workshop) / "fault_shim.so"
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(shim), str(_SHIM), "-ldl"]
        subprocess.run(command, check=True)  # noqa: S603 - our own source
        self._server = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "medtune.testing.fault_server", self.victim, str(shim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
        shutil.rmtree(self._workshop, ignore_errors=True)

    def run(
        self,
        folder: Path,
        fault: Fault | None = None,
        options: Mapping[str, Any] | None = None,
        ranks: int = 1,
        *,
        launched: bool = True,
    ) -> Outcome:
        """Start or resume the victim's run in ``folder``, which must exist, in ``ranks`` processes.

        ``launched`` kills all of them when one fails, as a launcher does on its machine; else each is left to itself, as on others.

        Raises:
            OSError: the server of the laboratory itself ended.
        """
        if self._server is None or self._server.stdin is None or self._server.stdout is None:
            raise OSError("a laboratory is used as a context manager")
        trial = {
            "folder": str(folder.resolve()),
            "fault": asdict(fault or Fault()),
            "options": dict(options or {}),
            "ranks": ranks,
            "launched": launched,
            "timeout": _TIMEOUT,
        }
        self._server.stdin.write(json.dumps(trial) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise OSError(f"the server for victim '{self.victim}' ended with status {self._server.wait()}")
        values: dict[str, Any] = json.loads(answer)
        values["status"] = tuple(values["status"])
        return Outcome(**values)
