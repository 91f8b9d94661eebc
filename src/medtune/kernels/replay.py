"""Records a pass over a micro-batch once per size and replays it: the device then never waits for Python."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.kernels.layout import PackedBatch

__all__ = ["Replays"]

_MOST = 32
"""Recordings that are kept; they share their memory, so only their lists of launches add up."""

Run = Callable[[PackedBatch, Tensor | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recorded pass, where it reads its input, and where it leaves its results."""

    graph: Any
    batch: PackedBatch
    seed: Tensor | None
    loss: Tensor
    gradient: Tensor


class Replays:
    """Runs passes by CUDA graphs.

    Args:
        run: the pass.
        prepare: takes what cannot be taken while a pass is recorded.
        parameters: tensors that a recording reads in place.
    """

    def __init__(self, run: Run, prepare: Callable[[PackedBatch], None], parameters: list[Any]) -> None:
        self._run, self._prepare, self._parameters = run, prepare, parameters
        self._recordings: OrderedDict[tuple[Any, ...], _Recording] = OrderedDict()
        self._pool: Any = None
        self._is_warm = False
        self._places: tuple[int, ...] = ()

    def __call__(self, batch: PackedBatch, seed: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return loss and gradient of a batch, wherever it lies; the seed lies on the host."""
        batch = batch.padded()
        places = tuple(parameter.data_ptr() for parameter in self._parameters)
        if places != self._places:  # a recording would read where they were
            self._recordings.clear()
            self._places = places
        if not self._is_warm:  # kernels are compiled and loaded in a pass that is not recorded
            self._is_warm = True
            return self._run(batch.to(device), None if seed is None else seed.to(device))
        key = (*batch.size, seed is not None)
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._record(batch.to(device), None if seed is None else seed.to(device))
            self._recordings[key] = recording
            if len(self._recordings) > _MOST:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        recording.batch.copy_(batch)
        if seed is not None and recording.seed is not None:
            recording.seed.copy_(seed)
        recording.graph.replay()
        # the next replay writes to the same places
        return recording.loss.clone(), recording.gradient.clone()

    def drop(self) -> None:
        """Forget all recordings and free their memory."""
        self._recordings.clear()
        self._pool = None

    def _record(self, batch: PackedBatch, seed: Tensor | None) -> _Recording:
        self._prepare(batch)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool):
            loss, gradient = self._run(batch, seed)
        return _Recording(graph, batch, seed, loss, gradient)
