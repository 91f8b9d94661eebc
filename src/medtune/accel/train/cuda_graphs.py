"""Records a pass over a micro-batch once per size and replays it: the device then never waits for Python."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.accel.train.adapters import Adapters
from medtune.accel.train.layout import PackedBatch
from medtune.accel.train.padding import HEADROOM, padded_chosen, padded_tokens

__all__ = ["Replays"]

_MOST = 64
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

    Recordings share their memory, and none of it goes back while one of them is kept. A pass a little larger than those
    before would fit into nothing they left and take all of its memory once more; so the first recording is one of the
    largest pass to come, which is never run, and where that turns out too small all recordings begin anew.

    Args:
        run: the pass.
        prepare: takes what cannot be taken while a pass is recorded.
        adapters: whose parameters a recording reads in place, and whose gradients it leaves in one memory for all.
        most_tokens: of a batch to come, 0 where that is not known.
    """

    def __init__(
        self, run: Run, prepare: Callable[[PackedBatch], None], adapters: Adapters, most_tokens: int = 0
    ) -> None:
        self._run, self._prepare, self._adapters = run, prepare, adapters
        self._most_tokens = padded_tokens(most_tokens) if most_tokens else 0
        self._room = (0, 0)
        self._largest: _Recording | None = None
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
        """Forget all recordings and free their memory; the next pass is not recorded, since it takes memory to stay."""
        self._begin_anew()
        self._gradient = None
        self._is_warm = False

    def _begin_anew(self) -> None:
        self._recordings.clear()
        self._pool = self._largest = None
        self._room = (0, 0)

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
                seed = None if seed is None else seed.to(device, non_blocking=True)
                self._make_room(batch, seed)
                self._recordings[key] = self._record(batch, seed)
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

    def _make_room(self, batch: PackedBatch, seed: Tensor | None) -> None:
        """Take the memory of the largest pass to come, unless it was taken and is large enough for ``batch``."""
        tokens, _pieces, chosen, *_ = batch.size
        if tokens <= self._room[0] and chosen <= self._room[1]:
            return
        known = self._room
        self._begin_anew()
        most = max(tokens, self._most_tokens, known[0])
        wanted = min(most, round(chosen * most / tokens * HEADROOM))
        most_chosen = max(chosen, known[1], padded_chosen(wanted))
        try:
            self._largest = self._record(batch.blank(most, most_chosen), seed)
            self._room = (most, most_chosen)
        except torch.OutOfMemoryError:  # what comes may be smaller than it could be
            self._begin_anew()
            self._most_tokens, self._room = 0, (tokens, chosen)

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
