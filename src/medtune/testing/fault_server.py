"""The process that a fault laboratory forks its trials from; started by ``FaultLab``, not by hand."""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from medtune.errors import MedtuneError

__all__ = ["main"]

Victim = Callable[[Path, Mapping[str, Any]], Any]

_MODES = {"none": 0, "kill": 1, "tear": 2, "fail_once": 3, "fail_always": 4}
_MOST_EVENTS = 100_000
_TICK = 0.002


def main(victim_name: str, shim_path: str) -> None:
    """Serve trials: one JSON object a line on stdin, one outcome a line on stdout."""
    module_name, _, function_name = victim_name.partition(":")
    module = import_module(module_name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    if hasattr(module, "warm_up"):
        module.warm_up()
    shim = ctypes.CDLL(shim_path)
    gc.collect()
    gc.freeze()  # a trial that collects garbage need not walk, and so copy, the pages of all libraries
    for line in sys.stdin:
        answers.write(json.dumps(_trial(getattr(module, function_name), shim, json.loads(line))) + "\n")
        answers.flush()


def _trial(victim: Victim, shim: Any, trial: Mapping[str, Any]) -> dict[str, Any]:
    ranks, fault = trial["ranks"], trial["fault"]
    port = _free_port() if ranks > 1 else 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medtune-trial-") as notes:
        children = [_fork(victim, shim, trial, (rank, port), Path(notes)) for rank in range(ranks)]
        status, signalled = _wait(children, trial, started + trial["timeout"], started)
        ended = time.monotonic()
        note = _read(Path(notes) / "0.json")
        hurt = _read(Path(notes) / f"{fault['rank']}.json")
    return {
        "status": status,
        "result": note.get("result"),
        "error": note.get("error", {}),
        "events": hurt.get("events", ""),
        "seconds": ended - started,
        "seconds_to_exit": None if signalled is None else ended - signalled,
    }


def _fork(victim: Victim, shim: Any, trial: Mapping[str, Any], place: tuple[int, int], notes: Path) -> int:
    rank, port = place
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if trial["ranks"] > 1:
            os.environ.update(
                {
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(trial["ranks"]),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
            )
        status = _suffer(victim, shim, trial, rank, notes)
    finally:
        os._exit(status)


def _suffer(victim: Victim, shim: Any, trial: Mapping[str, Any], rank: int, notes: Path) -> int:
    """Run the victim in this child, write down what became of it, and return its exit status."""
    fault, status = trial["fault"], 0
    mine = fault["rank"] == rank
    mode = _MODES[fault["kind"]] if mine else 0
    shim.fault_arm(trial["folder"].encode(), mode, ctypes.c_long(fault["at"]), fault["errno"])
    note: dict[str, Any] = {}
    try:
        note["result"] = victim(Path(trial["folder"]), trial["options"])
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the finding
        status = error.exit_code if isinstance(error, MedtuneError) else 1
        note["error"] = {"type": type(error).__name__, "message": str(error), "exit_code": status}
        if not isinstance(error, MedtuneError):
            traceback.print_exc()
    kinds = ctypes.create_string_buffer(_MOST_EVENTS)
    count = shim.fault_events(kinds, ctypes.c_long(_MOST_EVENTS))
    note["events"] = kinds.raw[:count].decode()
    (notes / f"{rank}.json").write_text(json.dumps(note))
    return status


def _wait(
    children: list[int], trial: Mapping[str, Any], deadline: float, started: float
) -> tuple[list[int], float | None]:
    """Wait for all children; a launcher kills the others when one fails, and without one those that are left are stopped ones."""
    fault, status, stopped = trial["fault"], dict[int, int](), set[int]()
    signalled: float | None = None
    while len(status) < len(children):
        for child in [c for c in children if c not in status]:
            done, code = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(code):
                stopped.add(child)
            elif done:
                status[child] = os.waitstatus_to_exitcode(code)
        now = time.monotonic()
        alive = [child for child in children if child not in status]
        if fault["signal"] and signalled is None and now - started >= fault["after"]:
            signalled = now
            hit = alive if fault["signal"] != "SIGKILL" else [c for c in alive if c == children[fault["rank"]]]
            for child in hit:  # a machine is told to stop as a whole, and a process is killed alone
                os.kill(child, getattr(signal, fault["signal"]))
        failed = trial["launched"] and any(code not in (0, 75) for code in status.values())
        if now > deadline or failed or stopped.issuperset(alive):
            for child in alive:
                os.kill(child, signal.SIGKILL)
        if alive:
            time.sleep(_TICK)
    return [status[child] for child in children], signalled


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(note: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(note.read_text()))
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    main(*sys.argv[1:])
