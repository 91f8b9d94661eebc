"""Lays out a micro-batch: which of its tokens are computed at all, and where each sample begins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medtune.accel.steps.dropout import token_keys
from medtune.accel.train.padding import Grain
from medtune.data.prefixes import prefix_groups

__all__ = ["PackedBatch", "lay_out"]

_IGNORED = -100
_TENSORS = ("ids", "positions", "offsets", "supervised", "targets", "shared", "keys")
_Whole = NDArray[np.int64]
"""Whole numbers. What is laid out lies in numpy: torch wakes all its threads for arrays that one counts in microseconds."""


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """The tokens of a micro-batch that its loss depends on, one after the other.

    A prefix that several samples share may be there once, as a piece of its own; the rest of each of these samples
    follows it. Any other sample is one piece.

    Attributes:
        ids: [tokens] int64.
        positions: [tokens] int64, counted from the begin of the sample.
        offsets: [pieces + 1] int32, where each piece begins; the last one is ``tokens``.
        longest: tokens of the longest sample.
        supervised: [supervised] int64, tokens whose successor carries loss, in the order of the rows.
        targets: [supervised] int64, those successors.
        shared: [3, pieces] int32, for each piece the begin and end of the tokens that come before it in its sample, the
            same number for none, and the end of the tokens that see it; [3, 0] where nothing is shared.
        keys: [tokens] int32, what dropout depends on.
    """

    ids: Tensor
    positions: Tensor
    offsets: Tensor
    longest: int
    supervised: Tensor
    targets: Tensor
    shared: Tensor
    keys: Tensor

    @property
    def shares(self) -> bool:
        """Whether samples may share a prefix."""
        return self.shared.shape[1] > 0

    def to(self, device: Any, *, non_blocking: bool = True) -> Self:
        """Return the batch on ``device``; from pinned memory without waiting for it."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory; torch's loaders call this."""
        return self._each(torch.Tensor.pin_memory)

    def padded(self, grain: Grain) -> Self:
        """Return the batch in a size that many batches share, so that one captured pass serves them all.

        A sample of padding comes last; further samples are empty. Supervised tokens that are added lie in the padding and
        have target -1, which carries no loss.

        Args:
            grain: what sizes are rounded up to.
        """
        tokens, samples, supervised = len(self.ids), len(self.offsets) - 1, len(self.supervised)
        size = grain.tokens(tokens)
        blank = size - tokens
        more_samples, more_supervised = grain.pieces(samples) - samples, grain.supervised(supervised) - supervised
        pad = torch.nn.functional.pad
        counted = torch.arange(blank, device=self.ids.device)
        return replace(
            self,
            ids=pad(self.ids, (0, blank)),
            positions=torch.cat([self.positions, counted]),
            offsets=pad(self.offsets, (0, more_samples), value=size),
            longest=1 << (max(self.longest, blank) - 1).bit_length(),
            supervised=pad(self.supervised, (0, more_supervised), value=size - 1),
            targets=pad(self.targets, (0, more_supervised), value=-1),
            shared=pad(self.shared, (0, more_samples if self.shares else 0), value=size),
            keys=pad(self.keys, (0, blank)),
        )

    def blank(self, tokens: int, supervised: int) -> Self:
        """Return a batch of zeros with that many tokens and twice as many pieces, to find out what a pass over it takes."""

        def zeros(like: Tensor, size: int) -> Tensor:
            return torch.zeros(size, dtype=like.dtype, device=like.device)

        starts = torch.arange(2 * len(self.offsets) - 1, dtype=self.offsets.dtype, device=self.offsets.device)
        offsets = (starts * self.longest).clamp(max=tokens)
        return replace(
            self,
            ids=zeros(self.ids, tokens),
            positions=zeros(self.positions, tokens),
            offsets=offsets,
            supervised=zeros(self.supervised, supervised),
            targets=zeros(self.targets, supervised),
            shared=_alone(offsets) if self.shares else self.shared,
            keys=zeros(self.keys, tokens),
        )

    @property
    def size(self) -> tuple[int, int, int, int, bool]:
        """What a captured pass depends on: tokens, pieces, supervised tokens, the longest sample, and whether any share."""
        return len(self.ids), len(self.offsets) - 1, len(self.supervised), self.longest, self.shares

    def copy_(self, other: "PackedBatch") -> None:
        """Take the values of a batch of the same size."""
        for name in _TENSORS:
            getattr(self, name).copy_(getattr(other, name), non_blocking=True)

    def _each(self, change: Any) -> Self:
        return replace(self, **{name: change(getattr(self, name)) for name in _TENSORS})


def lay_out(input_ids: Tensor, position_ids: Tensor, labels: Tensor, longest_shared: int = 0) -> PackedBatch:
    """Lay out packed rows; best called where the batch is made, on the CPU, so that no device is waited for.

    Attention is causal, so a sample's tokens after its last supervised prediction change nothing, nor do samples
    without any: padding, the end token of each sample, and answers without loss are left out. This is exact. For the same
    reason a prefix that samples have in common, before any token that predicts, is the same in all of them.

    Args:
        input_ids: [rows, length] int64.
        position_ids: [rows, length] int64; a 0 begins a sample, as does a row.
        labels: [rows, length] int64, -100 where a token carries no loss.
        longest_shared: samples of at most that many tokens are laid out with common prefixes once for several of them;
            0 for none. Where one is longer, none shares.
    """
    laid, targets = _laid(*(rows.cpu().numpy() for rows in (input_ids, position_ids, labels)))
    lengths = np.diff(laid.offsets)
    longest = int(lengths.max()) if len(lengths) else 0
    shared = np.zeros((3, 0), dtype=np.int32)
    if 0 < longest <= longest_shared:
        laid, shared = _share(laid)
    return PackedBatch(
        ids=torch.from_numpy(laid.ids),
        positions=torch.from_numpy(laid.positions),
        offsets=torch.from_numpy(laid.offsets.astype(np.int32)),
        longest=longest,
        supervised=torch.from_numpy(laid.supervised),
        targets=torch.from_numpy(targets),
        shared=torch.from_numpy(shared),
        keys=torch.from_numpy(laid.keys),
    )


@dataclass(frozen=True, slots=True)
class _Laid:
    """Tokens as in ``PackedBatch``."""

    ids: _Whole
    positions: _Whole
    offsets: _Whole
    supervised: _Whole
    keys: NDArray[np.int32]


def _laid(ids: _Whole, positions: _Whole, labels: _Whole) -> tuple[_Laid, _Whole]:
    """Return what the loss of rows depends on, and the tokens that follow those that predict."""
    predicts = np.zeros(ids.shape, dtype=bool)
    predicts[:, :-1] = labels[:, 1:] != _IGNORED
    begins = positions == 0
    begins[:, 0] = True
    sample = begins.ravel().cumsum() - 1
    predicting = predicts.ravel().nonzero()[0]
    last = np.full(sample[-1] + 1, -1)
    last[sample[predicting]] = predicting  # they ascend, and the last of several stays
    kept = np.arange(ids.size) <= last[sample]
    counts = np.bincount(sample[kept], minlength=len(last))
    own, offsets = ids.ravel()[kept], _offsets(counts[counts > 0])
    laid = _Laid(
        ids=own,
        positions=positions.ravel()[kept],
        offsets=offsets,
        supervised=(kept.cumsum() - 1)[predicting],
        keys=token_keys(own, np.repeat(offsets[:-1], np.diff(offsets)), np.arange(len(own))).astype(np.int32),
    )
    return laid, labels.ravel()[predicting + 1]


def _offsets(lengths: _Whole) -> _Whole:
    """Return where pieces of such lengths begin and the last ends."""
    return np.concatenate([np.zeros(1, dtype=np.int64), lengths.cumsum()])


def _alone(offsets: Tensor) -> Tensor:
    """Return what ``PackedBatch.shared`` says of pieces that share nothing."""
    return torch.stack([offsets[:-1], offsets[:-1], offsets[1:]])


def _share(whole: _Laid) -> tuple[_Laid, NDArray[np.int32]]:
    """Return whole samples with the prefixes that they have in common there once, and ``PackedBatch.shared``."""
    bounds = list(pairwise(whole.offsets.tolist()))
    groups = _groups(whole, bounds)
    together = {member for _length, members in groups for member in members}
    runs: list[tuple[int, int]] = []  # the tokens of each piece, by where they are now
    shared: list[tuple[int, int, int]] = []
    at = 0
    for length, members in [*groups, *((0, (i,)) for i in range(len(bounds)) if i not in together)]:
        begin, rests = at, [(bounds[member][0] + length, bounds[member][1]) for member in members]
        if length:
            first = bounds[members[0]][0]
            runs.append((first, first + length))
            at += length
            shared.append((begin, begin, at + sum(end - start for start, end in rests)))
        for start, end in rests:
            runs.append((start, end))
            at += end - start
            shared.append((begin, begin + length, at))
    kept = np.concatenate([np.arange(start, end) for start, end in runs])
    place = np.zeros(len(whole.ids), dtype=np.int64)
    place[kept] = np.arange(at)
    laid = _Laid(
        ids=whole.ids[kept],
        positions=whole.positions[kept],
        offsets=_offsets(np.array([end - start for start, end in runs])),
        supervised=place[whole.supervised],
        keys=whole.keys[kept],
    )
    return laid, np.array(shared, dtype=np.int32).T.copy()


def _groups(whole: _Laid, bounds: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[int, ...]]]:
    """Return how many tokens which samples, two or more, have in common before any of them predicts."""
    ids = whole.ids.tolist()
    starts = whole.offsets[:-1]
    counted = np.arange(len(ids)) - np.repeat(starts, np.diff(whole.offsets)) == whole.positions
    from_zero = np.logical_and.reduceat(counted, starts)
    firsts = whole.supervised[np.searchsorted(whole.supervised, starts)].tolist()
    prompts = {
        sample: ids[start : first + 1]  # the token that predicts first is its sample's own
        for sample, ((start, _end), first) in enumerate(zip(bounds, firsts, strict=True))
        if from_zero[sample]
    }
    return prefix_groups(prompts)
