"""Runs a decoding step over the first rows again and again: as a captured CUDA graph, or as written."""

import logging
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["CapturedSteps", "RunStep"]

RunStep = Callable[[int], None]
"""Runs one step over the first ``rows`` rows."""


class CapturedSteps:
    """Captures a step for each number of rows the second time it is asked for, and launches the CUDA graph from then on.

    The first time runs as written, which compiles kernels and sets up libraries outside of the capture. A capture does
    not execute anything, so a step is never lost or done twice. When a step cannot be captured, all run as written.

    Args:
        step: works on tensors that stay where they are; must not wait for the device.
    """

    def __init__(self, step: RunStep) -> None:
        self._step = step
        self._ran: set[int] = set()
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._pool: Any = None
        self._refused = False

    def __call__(self, rows: int) -> None:
        """Run one step."""
        graph = self._graphs.get(rows)
        if graph is None and rows in self._ran and not self._refused:
            graph = self._capture(rows)
        if graph is not None:
            graph.replay()
            return
        self._ran.add(rows)
        self._step(rows)

    def _capture(self, rows: int) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                self._step(rows)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._refused = True
            reason = str(error).partition("\n")[0]
            logging.getLogger(__name__).warning("decoding without a CUDA graph: %s", reason)
            return None
        self._graphs[rows] = graph
        self._pool = graph.pool()
        return graph
