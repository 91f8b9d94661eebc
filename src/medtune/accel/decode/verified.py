"""Runs several tokens of each sequence through the model in one pass: the last one, and those drafted to follow it."""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from medtune.accel.decode.cache import Block, SlotCache
from medtune.accel.decode.capture import CapturedSteps, RunStep
from medtune.accel.decode.model import Decoder
from medtune.accel.decode.state import DecodeState

__all__ = ["Verifier", "room_for_drafts", "widest"]

_WIDTHS = (2, 4, 8, 16)
"""Tokens of each sequence in a pass on a GPU, where every shape is a CUDA graph of its own."""
_MOST_TOKENS = 1024
"""Tokens of a pass with which a GPU is bound by arithmetic, so that to draft further ahead gains nothing."""


_DOUBLING_TOKENS = 800
"""Tokens by which a pass on a GPU takes twice as long as a step: 7 billion parameters on an H200, estimated."""
_RIGHT = 0.75
"""Share of drafted tokens that is counted on before a pass."""
_LEAST_DRAFTED = 4
"""On a CPU steps are taken one token at a time where fewer than one in so many sequences have a drafted token."""


def widest(rows: int) -> int:
    """Return the most tokens of each of ``rows`` sequences that are worth one pass."""
    return max([_WIDTHS[0], *(width for width in _WIDTHS if width * rows <= _MOST_TOKENS)])


def room_for_drafts(device: torch.device) -> int:
    """Return how many tokens beyond its end a sequence's slot must have room for: on a GPU passes are padded."""
    return _WIDTHS[-1] - 1 if device.type == "cuda" else 0


class Verifier:
    """Verifies drafts against the model's own choices.

    On a CPU the tokens of a pass stand without padding. On a GPU each sequence gets equally many, so that a pass is a graph.

    Args:
        decoder: the model.
        cache: its kept keys and values; those of rejected tokens are written over by the tokens that follow.
        state: of the sequences.
        allowed: most ids that may be allowed in one place, 0 where all ids are allowed everywhere.
    """

    def __init__(self, decoder: Decoder, cache: SlotCache, state: DecodeState, allowed: int = 0) -> None:
        self._decoder, self._cache, self._state = decoder, cache, state
        device = decoder.embedding.device
        self._given = torch.zeros(cache.slots, _WIDTHS[-1], dtype=torch.int64, device=device)
        self._found = torch.zeros(cache.slots, _WIDTHS[-1] + 1, dtype=torch.int64, device=device)
        self._allowed = torch.zeros(cache.slots, _WIDTHS[-1], allowed, dtype=torch.int64, device=device)
        self._is_padded = device.type == "cuda"

    def passes(self) -> RunStep:
        """Return what runs a pass, captured on a GPU; like ``Decoding.steps`` it is not kept here."""
        return CapturedSteps(self.run) if self._is_padded else self.run

    def pays(self, rows: int, drafts: Mapping[int, Sequence[int]], inside: Collection[int]) -> bool:
        """Say whether a pass over drafts is worth more than a step: on a GPU it takes longer the more tokens it has."""
        drafted = sum(map(len, drafts.values()))
        if not self._is_padded:
            return drafted * _LEAST_DRAFTED >= len(inside)
        return bool(drafts) and drafted * _RIGHT >= len(inside) * (self._width(drafts) - 1) * rows / _DOUBLING_TOKENS

    def gain(
        self,
        rows: int,
        drafts: Mapping[int, Sequence[int]],
        inside: Collection[int],
        run: RunStep,
        allowed: Mapping[int, Sequence[Sequence[int]]] | None = None,
    ) -> list[list[int]]:
        """Return for each row the tokens that its answer gained.

        Args:
            rows: sequences of the pass.
            drafts: slot -> ids that may follow.
            inside: slots that hold a sequence.
            run: from ``passes``.
            allowed: slot -> ids that may stand in the place of each drafted one and after them.
        """
        width = self._width(drafts)
        given = torch.zeros(rows, width, dtype=torch.int64)
        given[:, 0] = -1
        given[list(inside), 0] = 0
        for slot, ids in drafts.items():
            given[slot, : len(ids) + 1] = torch.tensor([len(ids), *ids])
        self._given[:rows, :width].copy_(given)
        if allowed is not None:
            self._allow(allowed)
        run(rows, width)
        found: list[list[int]] = self._found[:rows, : width + 1].tolist()
        return [ids[1 : 1 + ids[0]] for ids in found]

    def _allow(self, allowed: Mapping[int, Sequence[Sequence[int]]]) -> None:
        most = self._allowed.shape[2]
        for slot, sets in allowed.items():
            rows = [[*ids, *[ids[0]] * (most - len(ids))] for ids in sets]
            self._allowed[slot, : len(sets)] = torch.tensor(rows).to(self._allowed.device)

    def _width(self, drafts: Mapping[int, Sequence[int]]) -> int:
        width = 1 + max(map(len, drafts.values()))
        return min(each for each in _WIDTHS if each >= width) if self._is_padded else width

    def run(self, rows: int, width: int) -> None:
        """Run one pass over the first rows; works on tensors that stay where they are."""
        state, decoder, cache = self._state, self._decoder, self._cache
        counts, drafted = self._given[:rows, 0], self._given[:rows, 1:width]
        step = torch.arange(width, device=counts.device)
        real = None if self._is_padded else (step <= counts[:, None]).flatten().nonzero()[:, 0]
        block = Block(state.lengths[:rows], width, real)
        ids = torch.cat([state.tokens[:rows, None], drafted], 1).flatten()

        def attend_to_cache(layer: int, qkv: Tensor) -> Tensor:
            return cache.attend_block(layer, qkv, block, decoder.layers[layer].window)

        most = self._allowed.shape[2]
        allowed = block.packed(self._allowed[:rows, :width].reshape(rows * width, most)) if most else None
        found = decoder.next_ids(block.packed(ids), decoder.angles(block.places), attend_to_cache, allowed=allowed)
        chosen = block.padded(found).view(rows, width)
        self._found[:rows, 1 : width + 1] = chosen
        self._found[:rows, 0] = state.advance_drafted(chosen, drafted, counts)
