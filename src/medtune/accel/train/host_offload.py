"""Keeps the inputs of blocks in the host's memory between the passes, copied beside the computation."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["HostOffload"]

_GRAIN = 2**22
"""Values by which memory grows, so that batches of nearly the same size share it."""
_UNDER_WAY = 2
"""Copies to the host that the computation may run ahead of."""


class HostOffload:
    """Pinned host memory for one tensor per block; on a CPU tensors stay where they are.

    Copies run in a stream of their own. Device memory is held until the computing stream has waited for the copy: telling
    the allocator of the second stream instead would keep all of it until the end of a capture.
    """

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._memory: dict[int, Tensor] = {}
        self._outgrown: list[Tensor] = []  # a captured pass may still write there
        self._held: dict[int, Tensor] = {}
        self._leaving: list[tuple[Any, Tensor]] = []
        self._coming: dict[int, Any] = {}

    def reserve(self, index: int, size: int, dtype: torch.dtype) -> None:
        """Have memory for ``size`` values; none may be taken while a pass is captured."""
        memory = self._memory.get(index)
        if memory is None or memory.numel() < size or memory.dtype != dtype:
            if memory is not None:
                self._outgrown.append(memory)
            self._memory[index] = torch.empty(-(-size // _GRAIN) * _GRAIN, dtype=dtype, pin_memory=True)

    def put(self, index: int, x: Tensor) -> None:
        """Copy ``x`` to the host once it is computed; its device memory is free again soon after."""
        if not x.is_cuda:
            self._held[index] = x
            return
        self.reserve(index, x.numel(), x.dtype)
        place = self._memory[index][: x.numel()].view(x.shape)
        stream, computing = self._own_stream(x), torch.cuda.current_stream(x.device)
        stream.wait_stream(computing)
        with torch.cuda.stream(stream):
            place.copy_(x, non_blocking=True)
            self._leaving.append((stream.record_event(), x))
        self._held[index] = place
        if len(self._leaving) > _UNDER_WAY:
            computing.wait_event(self._leaving.pop(0)[0])

    def settle(self) -> None:
        """Wait, on the device, until all copies to the host are done."""
        for event, x in self._leaving:
            torch.cuda.current_stream(x.device).wait_event(event)
        self._leaving.clear()

    def fetch(self, index: int, device: torch.device) -> None:
        """Begin to copy a tensor back."""
        held = self._held.get(index)
        if held is None or held.device == device:
            return
        x = torch.empty_like(held, device=device, pin_memory=False)
        stream = self._own_stream(x)
        stream.wait_stream(torch.cuda.current_stream(device))  # whoever used this memory before must be done
        with torch.cuda.stream(stream):
            x.copy_(held, non_blocking=True)
            self._coming[index] = stream.record_event()
        self._held[index] = x

    def take(self, index: int, device: torch.device) -> Tensor:
        """Return a tensor on ``device``, and forget it."""
        self.fetch(index, device)
        event = self._coming.pop(index, None)
        if event is not None:
            torch.cuda.current_stream(device).wait_event(event)
        return self._held.pop(index)

    def drop(self) -> None:
        """Free the memory."""
        for part in (self._memory, self._outgrown, self._held, self._leaving, self._coming):
            part.clear()

    def _own_stream(self, x: Tensor) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]  # torch leaves it out
        return self._stream
