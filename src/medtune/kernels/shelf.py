"""Keeps the inputs of blocks in the host's memory between the passes, copied beside the computation."""

import torch
from torch import Tensor

__all__ = ["Shelf"]

_GRAIN = 2**20


class Shelf:
    """Pinned host memory for one tensor per block; on a CPU tensors stay where they are."""

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._memory: dict[int, Tensor] = {}
        self._held: dict[int, Tensor] = {}

    def put(self, index: int, x: Tensor) -> None:
        """Copy ``x`` to the host once it is computed; its device memory is free again after that."""
        if not x.is_cuda:
            self._held[index] = x
            return
        place = self._place(index, x)
        stream = self._own_stream(x)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):
            place.copy_(x, non_blocking=True)
        x.record_stream(stream)
        self._held[index] = place

    def fetch(self, index: int, device: torch.device) -> None:
        """Begin to copy a tensor back."""
        held = self._held.get(index)
        if held is None or held.device == device:
            return
        x = torch.empty_like(held, device=device)
        stream = self._own_stream(x)
        stream.wait_stream(torch.cuda.current_stream(device))  # whoever used this memory before must be done
        with torch.cuda.stream(stream):
            x.copy_(held, non_blocking=True)
        self._held[index] = x

    def take(self, index: int, device: torch.device) -> Tensor:
        """Return a tensor on ``device``, and forget it."""
        self.fetch(index, device)
        if self._stream is not None:
            torch.cuda.current_stream(device).wait_stream(self._stream)
        return self._held.pop(index)

    def drop(self) -> None:
        """Free the memory."""
        self._memory.clear()
        self._held.clear()

    def _own_stream(self, x: Tensor) -> torch.cuda.Stream:
        if self._stream is None:
            self._stream = torch.cuda.Stream(x.device)
        return self._stream

    def _place(self, index: int, x: Tensor) -> Tensor:
        memory = self._memory.get(index)
        if memory is None or memory.numel() < x.numel() or memory.dtype != x.dtype:
            size = -(-x.numel() // _GRAIN) * _GRAIN
            memory = self._memory[index] = torch.empty(size, dtype=x.dtype, pin_memory=True)
        return memory[: x.numel()].view(x.shape)
