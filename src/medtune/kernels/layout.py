"""Lays out a micro-batch: which of its tokens are computed at all, and where each sample begins."""

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from medtune.padding import padded, padded_chosen, padded_tokens

__all__ = ["PackedBatch", "lay_out"]

_IGNORED = -100
_TENSORS = ("ids", "positions", "offsets", "chosen", "targets")
_SAMPLE_GRAIN = 32


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """The tokens of a micro-batch that its loss depends on, one after the other.

    Attributes:
        ids: [tokens] int64.
        positions: [tokens] int64, restarting with every sample.
        offsets: [samples + 1] int32, where each sample begins; the last one is ``tokens``.
        longest: tokens of the longest sample.
        chosen: [supervised] int64, tokens whose successor carries loss, ascending.
        targets: [supervised] int64, those successors.
    """

    ids: Tensor
    positions: Tensor
    offsets: Tensor
    longest: int
    chosen: Tensor
    targets: Tensor

    def to(self, device: Any, *, non_blocking: bool = True) -> Self:
        """Return the batch on ``device``; from pinned memory without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory; torch's loaders call this."""
        return self._each(torch.Tensor.pin_memory)

    def padded(self) -> Self:
        """Return the batch in a size that many batches share, so that one recorded pass serves them all.

        A sample of padding comes last; further samples are empty. Chosen tokens that are added lie in the padding and
        have target -1, which carries no loss.
        """
        tokens, samples, chosen = len(self.ids), len(self.offsets) - 1, len(self.chosen)
        size = padded_tokens(tokens)
        blank = size - tokens
        more_samples, more_chosen = padded(samples + 1, _SAMPLE_GRAIN) - samples, padded_chosen(chosen) - chosen
        pad = torch.nn.functional.pad
        counted = torch.arange(blank, device=self.ids.device)
        return replace(
            self,
            ids=pad(self.ids, (0, blank)),
            positions=torch.cat([self.positions, counted]),
            offsets=pad(self.offsets, (0, more_samples), value=size),
            longest=1 << (max(self.longest, blank) - 1).bit_length(),
            chosen=pad(self.chosen, (0, more_chosen), value=size - 1),
            targets=pad(self.targets, (0, more_chosen), value=-1),
        )

    def blank(self, tokens: int, chosen: int) -> Self:
        """Return a batch of zeros with that many tokens and a few more samples, to find out what a pass over it takes."""

        def zeros(like: Tensor, size: int) -> Tensor:
            return torch.zeros(size, dtype=like.dtype, device=like.device)

        starts = torch.arange(len(self.offsets) + _SAMPLE_GRAIN, dtype=self.offsets.dtype, device=self.offsets.device)
        return replace(
            self,
            ids=zeros(self.ids, tokens),
            positions=zeros(self.positions, tokens),
            offsets=(starts * self.longest).clamp(max=tokens),
            chosen=zeros(self.chosen, chosen),
            targets=zeros(self.targets, chosen),
        )

    @property
    def size(self) -> tuple[int, int, int, int]:
        """What a recorded pass depends on: tokens, samples, chosen tokens and the longest sample."""
        return len(self.ids), len(self.offsets) - 1, len(self.chosen), self.longest

    def copy_(self, other: "PackedBatch") -> None:
        """Take the values of a batch of the same size."""
        for name in _TENSORS:
            getattr(self, name).copy_(getattr(other, name), non_blocking=True)

    def _each(self, change: Any) -> Self:
        return replace(self, **{name: change(getattr(self, name)) for name in _TENSORS})


def lay_out(input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> PackedBatch:
    """Lay out packed rows; best called where the batch is made, on the CPU, so that no device is waited for.

    Attention is causal, so a sample's tokens after its last supervised prediction change nothing, nor do samples
    without any: padding, the end token of each sample, and answers without loss are left out. This is exact.

    Args:
        input_ids: [rows, length] int64.
        position_ids: [rows, length] int64; a 0 begins a sample, as does a row.
        labels: [rows, length] int64, -100 where a token carries no loss.
    """
    rows, length = input_ids.shape
    ids, positions, labels = input_ids.cpu(), position_ids.cpu(), labels.cpu()
    predicts = torch.zeros(rows, length, dtype=torch.bool)
    predicts[:, :-1] = labels[:, 1:] != _IGNORED
    begins = positions == 0
    begins[:, 0] = True
    sample = begins.flatten().cumsum(0) - 1
    place = torch.arange(rows * length)
    predicting = predicts.flatten().nonzero().squeeze(1)
    last = torch.full((int(sample[-1]) + 1,), -1, dtype=torch.int64)
    last.scatter_reduce_(0, sample[predicting], predicting, "amax")
    kept = place <= last[sample]
    counts = torch.bincount(sample[kept], minlength=len(last))
    lengths = counts[counts > 0]
    return PackedBatch(
        ids=ids.flatten()[kept],
        positions=positions.flatten()[kept],
        offsets=torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
        longest=int(lengths.max()) if len(lengths) else 0,
        chosen=(kept.cumsum(0) - 1)[predicting],
        targets=labels.flatten()[predicting + 1],
    )
