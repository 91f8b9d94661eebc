"""Says which process of a run is gone or hangs, once what they do together has failed."""

import os
import threading
import time
from datetime import timedelta
from typing import Any

__all__ = ["Roll"]

_KEY = "medtune/failed"
_PATIENCE = 5.0
"""Seconds within which every process that still works has noticed that one is lacking."""
_CONNECT = timedelta(seconds=5)
_OF_NETWORK = ("peer", "timed out", "timeout", "connection", "socket", "remote process")
"""Words of which gloo and NCCL use one where another process does not answer."""


class Roll:
    """The processes of a run, called up by those that are left.

    Args:
        process: number of this one.
        processes: how many there are.
    """

    def __init__(self, process: int, processes: int) -> None:
        self._process, self._processes = process, processes

    def reason(self, error: RuntimeError, step: int) -> str | None:
        """Return why the run cannot go on, naming who is lacking; None where the error is of another kind.

        Args:
            error: of this process.
            step: updates that it has done.
        """
        import torch

        if self._processes == 1 or isinstance(error, torch.OutOfMemoryError) or not _is_of_network(error):
            return None
        told: list[list[int] | None] = []
        call = threading.Thread(target=lambda: told.append(self._lacking(step)), daemon=True)
        call.start()  # a place to report to that is stopped too accepts a connection, and never answers
        call.join(2 * _PATIENCE)
        lacking = told[0] if told else None
        if lacking is None:
            return f"process 0 of {self._processes}, or the machine where they meet, does not answer"
        if not lacking:
            return f"the {self._processes} processes lost their connection"
        named = ", ".join(map(str, lacking))
        return f"process {named} of {self._processes} was lost or hangs (numbered from 0)"

    def _lacking(self, step: int) -> list[int] | None:
        """Return who does not report within the patience; None where there is no place to report to."""
        import torch

        try:
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            meet: Any = getattr(torch.distributed, "TCPStore")  # noqa: B009 - torch declares no such attribute
            store = meet(address, port, is_master=False, wait_for_workers=False, timeout=_CONNECT)
            store.set(f"{_KEY}/{self._process}", str(step))
            others, until = set(range(self._processes)) - {self._process}, time.monotonic() + _PATIENCE
            while others and time.monotonic() < until:
                others -= {other for other in others if store.check([f"{_KEY}/{other}"])}
                time.sleep(0.05)
        except (KeyError, ValueError, RuntimeError):
            return None
        return sorted(others)


def _is_of_network(error: RuntimeError) -> bool:
    """Whether what processes do together has failed; gloo has no class of errors for it."""
    import torch

    if isinstance(error, torch.distributed.DistError):
        return True
    return "gloo" in str(error) and any(word in str(error).lower() for word in _OF_NETWORK)
