"""Records a pass over a micro-batch once per size and replays it: the device then never waits for Python."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.kernels.adapters import Adapters
from medtune.kernels.layout import PackedBatch

__all__ = ["Replays"]

_MOST = 32
"""Recordings that are kept; they share their memory, so only their lists of launches add up."""

Run = Callable[[PackedBatch, Tensor | None, Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recorded pass, where it reads its input, and where it leaves its results."""

    graph: Any
    batch: PackedBatch
    seed: Tensor | None
    loss: Tensor


class Replays:
    """Runs passes by CUDA graphs.

    Args:
        run: the pass.
        prepare: takes what cannot be taken while a pass is recorded.
        adapters: whose parameters a recording reads in place, and whose gradients it leaves in one memory for all.
    """

    def __init__(self, run: Run, prepare: Callable[[PackedBatch], None], adapters: Adapters) -> None:
        self._run, self._prepare, self._adapters = run, prepare, adapters
        self._gradient: Tensor | None = None
        self._recordings: OrderedDict[tuple[Any, ...], _Recording] = OrderedDict()
        self._pool: Any = None
        self._is_warm = False
        self._failure: str | None = None
        self._places: tuple[int, ...] = ()

    @property
    def failure(self) -> str | None:
        """Why passes are not recorded any more, None while they are."""
        return self._failure

    def __call__(self, batch: PackedBatch, seed: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return losses and gradient of a batch, wherever it lies; the seed lies on the host."""
        batch = batch.to(device).padded()
        places = tuple(parameter.data_ptr() for parameter in self._adapters.parameters)
        if places != self._places:  # a recording would read where they were
            self._recordings.clear()
            self._places = places
        if self._gradient is None:
            self._gradient = self._adapters.memory()
        recording = self._recorded(batch, seed, device)
        if recording is None:
            loss = self._run(batch, None if seed is None else seed.to(device, non_blocking=True), self._gradient)
        else:
            recording.batch.copy_(batch)
            if seed is not None and recording.seed is not None:
                recording.seed.copy_(seed, non_blocking=True)
            recording.graph.replay()
            loss = recording.loss.clone()
        return loss, self._gradient.clone()  # the next pass writes to the same place

    def drop(self) -> None:
        """Forget all recordings and free their memory; passes are recorded anew as they come."""
        self._recordings.clear()
        self._pool = self._gradient = None

    def _recorded(self, batch: PackedBatch, seed: Tensor | None, device: torch.device) -> _Recording | None:
        """Return the recording of a batch's size, None where a pass is to run as it is."""
        if self._failure is not None:
            return None
        if not self._is_warm:  # kernels are compiled and loaded in a pass that is not recorded
            self._is_warm = True
            return None
        key = (*batch.size, seed is not None)
        if key not in self._recordings:
            try:
                self._recordings[key] = self._record(
                    batch, None if seed is None else seed.to(device, non_blocking=True)
                )
            except torch.OutOfMemoryError:
                self.drop()  # smaller parts come next
                raise
            except RuntimeError as error:  # a driver or a library that does not allow it: slower, equal in result
                self.drop()
                self._gradient = self._adapters.memory()
                self._failure = str(error).partition("\n")[0]
                return None
        self._recordings.move_to_end(key)
        if len(self._recordings) > _MOST:
            self._recordings.popitem(last=False)
        return self._recordings[key]

    def _record(self, batch: PackedBatch, seed: Tensor | None) -> _Recording:
        self._prepare(batch)
        if self._gradient is None:
            self._gradient = self._adapters.memory()
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # loaders pin memory in threads of their own meanwhile, which concerns only them
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            loss = self._run(batch, seed, self._gradient)
        return _Recording(graph, batch, seed, loss)
