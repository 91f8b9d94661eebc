"""Runs a decoding step over the first rows again and again: as a captured CUDA graph, or as written."""

import logging
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["CapturedSteps", "RunStep"]

RunStep = Callable[..., None]
"""Runs one step over the first ``rows`` rows, or a pass over so many of them and so many tokens of each."""


class CapturedSteps:
    """Captures a step for each size the second time it is asked for, and launches the CUDA graph from then on.

    The first time runs as written, which compiles kernels and sets up libraries outside of the capture. A capture does
    not execute anything, so a step is never lost or done twice. When a step cannot be captured, all run as written.

    Args:
        step: works on tensors that stay where they are; must not wait for the device.
    """

    def __init__(self, step: RunStep) -> None:
        self._step = step
        self._ran: set[tuple[int, ...]] = set()
        self._graphs: dict[tuple[int, ...], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None
        self._refused = False

    def __call__(self, *size: int) -> None:
        """Run one step."""
        graph = self._graphs.get(size)
        if graph is None and size in self._ran and not self._refused:
            graph = self._capture(size)
        if graph is not None:
            graph.replay()
            return
        self._ran.add(size)
        self._step(*size)

    def _capture(self, size: tuple[int, ...]) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                self._step(*size)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self._refused = True
            reason = str(error).partition("\n")[0]
            logging.getLogger(__name__).warning("decoding without a CUDA graph: %s", reason)
            return None
        self._graphs[size] = graph
        self._pool = graph.pool()
        return graph
