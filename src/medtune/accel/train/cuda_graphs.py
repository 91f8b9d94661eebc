"""Captures a pass over a micro-batch in a CUDA graph once per size and launches that: the device never waits for Python."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medtune.accel.train.adapters import Adapters
from medtune.accel.train.layout import PackedBatch
from medtune.accel.train.padding import HEADROOM, Grain

__all__ = ["CudaGraphs"]

_MOST = 64
"""Graphs that are kept; they share their memory, so only their lists of launches add up."""

Run = Callable[[PackedBatch, Tensor | None, Tensor], Tensor]
Capture = Callable[[Any, Any], AbstractContextManager[None]]
_IN_THREAD = "thread_local"
"""Loaders pin memory in threads of their own meanwhile, which concerns only them."""


def at_rest(graph: Any, pool: Any) -> AbstractContextManager[None]:
    """Capture when the device has done all, with every block that nobody uses given back to it."""
    return torch.cuda.graph(graph, pool=pool, capture_error_mode=_IN_THREAD)


@contextmanager
def at_once(graph: Any, pool: Any) -> Iterator[None]:
    """Capture while the device still works on the passes before: nothing runs here, and what is captured runs after them.

    The stream is torch's own for captures, since cuBLAS keeps memory for every stream that it has seen.
    """
    with torch.cuda.stream(torch.cuda.graph(graph).capture_stream):
        graph.capture_begin(pool, capture_error_mode=_IN_THREAD)
        try:
            yield
        finally:
            graph.capture_end()


@dataclass(frozen=True, slots=True)
class _CapturedPass:
    """A captured pass, where it reads its input, and where it leaves its results."""

    graph: Any
    batch: PackedBatch
    seed: Tensor | None
    loss: Tensor


class CudaGraphs:
    """Runs passes by CUDA graphs.

    Graphs share their memory, and none of it goes back while one of them is kept. A pass a little larger than those
    before would fit into nothing they left and take all of its memory once more; so the first graph is one of the
    largest pass to come, which is never run, and where that turns out too small all graphs begin anew.

    Args:
        run: the pass.
        prepare: takes what cannot be taken while a pass is captured.
        adapters: whose parameters a graph reads in place, and whose gradients it leaves in one memory for all.
        grain: what sizes of batches are rounded up to.
        most_tokens: of a batch to come, 0 where that is not known.
    """

    def __init__(
        self,
        run: Run,
        prepare: Callable[[PackedBatch], None],
        adapters: Adapters,
        grain: Grain,
        most_tokens: int = 0,
    ) -> None:
        self._run, self._prepare, self._adapters, self._grain = run, prepare, adapters, grain
        self._most_tokens = grain.tokens(most_tokens) if most_tokens else 0
        self._room = (0, 0)
        self._largest: _CapturedPass | None = None
        self._gradient: Tensor | None = None
        self._captured: OrderedDict[tuple[Any, ...], _CapturedPass] = OrderedDict()
        self._pool: Any = None
        self._is_warm = False
        self._failure: str | None = None
        self._places: tuple[int, ...] = ()

    @property
    def failure(self) -> str | None:
        """Why passes are not captured any more, None while they are."""
        return self._failure

    def __call__(self, batch: PackedBatch, seed: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return losses and gradient of a batch, wherever it lies; the seed lies on the host."""
        batch = batch.to(device).padded(self._grain)
        places = tuple(parameter.data_ptr() for parameter in self._adapters.parameters)
        if places != self._places:  # a graph would read where they were
            self._captured.clear()
            self._places = places
        if self._gradient is None:
            self._gradient = self._adapters.memory()
        captured = self._captured_pass(batch, seed, device)
        if captured is None:
            loss = self._run(batch, None if seed is None else seed.to(device, non_blocking=True), self._gradient)
        else:
            captured.batch.copy_(batch)
            if seed is not None and captured.seed is not None:
                captured.seed.copy_(seed, non_blocking=True)
            captured.graph.replay()
            loss = captured.loss.clone()
        return loss, self._gradient.clone()  # the next pass writes to the same place

    def drop(self) -> None:
        """Forget all graphs and free their memory; the next pass is not captured, since it takes memory to stay."""
        self._begin_anew()
        self._gradient = None
        self._is_warm = False

    def _begin_anew(self) -> None:
        self._captured.clear()
        self._pool = self._largest = None
        self._room = (0, 0)

    def _captured_pass(self, batch: PackedBatch, seed: Tensor | None, device: torch.device) -> _CapturedPass | None:
        """Return the captured pass of a batch's size, None where a pass is to run as it is."""
        if self._failure is not None:
            return None
        if not self._is_warm:  # kernels are compiled and loaded in a pass that is not captured
            self._is_warm = True
            return None
        key = (*batch.size, seed is not None)
        if key not in self._captured:
            try:
                seed = None if seed is None else seed.to(device, non_blocking=True)
                self._make_room(batch, seed)
                self._captured[key] = self._capture(batch, seed)
            except torch.OutOfMemoryError:
                self.drop()  # smaller parts come next
                raise
            except RuntimeError as error:  # a driver or a library that does not allow it: slower, equal in result
                self.drop()
                self._gradient = self._adapters.memory()
                self._failure = str(error).partition("\n")[0]
                return None
        self._captured.move_to_end(key)
        if len(self._captured) > _MOST:
            self._captured.popitem(last=False)
        return self._captured[key]

    def _make_room(self, batch: PackedBatch, seed: Tensor | None) -> None:
        """Take the memory of the largest pass to come, unless it was taken and is large enough for ``batch``."""
        tokens, _pieces, supervised, *_ = batch.size
        if tokens <= self._room[0] and supervised <= self._room[1]:
            return
        known = self._room
        self._begin_anew()
        most = max(tokens, self._most_tokens, known[0])
        wanted = min(most, round(supervised * most / tokens * HEADROOM))
        most_supervised = max(supervised, known[1], self._grain.supervised(wanted))
        try:
            self._largest = self._capture(batch.blank(most, most_supervised), seed)
            self._room = (most, most_supervised)
        except torch.OutOfMemoryError:  # what comes may be smaller than it could be
            self._begin_anew()
            self._most_tokens, self._room = 0, (tokens, supervised)

    def _capture(self, batch: PackedBatch, seed: Tensor | None) -> _CapturedPass:
        self._prepare(batch)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
            return self._record(batch, seed, at_rest)
        try:
            return self._record(batch, seed, at_once)
        except torch.OutOfMemoryError:  # what others cached can be given back only while nothing is captured
            return self._record(batch, seed, at_rest)

    def _record(self, batch: PackedBatch, seed: Tensor | None, capture: Capture) -> _CapturedPass:
        if self._gradient is None:
            self._gradient = self._adapters.memory()
        graph = torch.cuda.CUDAGraph()
        with capture(graph, self._pool):
            loss = self._run(batch, seed, self._gradient)
        return _CapturedPass(graph, batch, seed, loss)
