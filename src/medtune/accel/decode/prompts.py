"""Runs prompts through the model, packed, and keeps their keys and values; a prefix that they share runs once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medtune.accel.decode.cache import SlotCache
from medtune.accel.decode.model import Decoder
from medtune.accel.decode.plan import PromptRoom
from medtune.accel.decode.prompt_attention import Prompts, attend, attend_to_kept, mask_of
from medtune.data.prefixes import Prefix, shared_prefixes
from medtune.plugins.contracts import GenerationRequest

__all__ = ["PromptReader"]


_ALIGNED = 16
"""Keys are looked at in multiples of so many, which kernels that take a mask want."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Tokens of a prompt that follow each other, the first at position ``begin``."""

    ids: Sequence[int]
    begin: int = 0


class PromptReader:
    """Reads prompts into a cache.

    Args:
        decoder: the model.
        cache: kept keys and values.
        room: how much of them is worked on at once.
    """

    def __init__(self, decoder: Decoder, cache: SlotCache, room: PromptRoom) -> None:
        self._decoder, self._cache, self._device = decoder, cache, decoder.embedding.device
        self._room = room
        self._shared: dict[int, tuple[int, int]] = {}
        self._kept: list[tuple[Tensor, Tensor]] = []

    def share(self, requests: Mapping[int, GenerationRequest]) -> None:
        """Run the prefixes that requests have in common, once."""
        prefixes = shared_prefixes({key: r.input_ids for key, r in requests.items()}, self._room.prefix_tokens)
        place = 0
        for prefix in prefixes:
            self._shared.update(dict.fromkeys(prefix.keys, (place, len(prefix.ids))))
            place += len(prefix.ids)
        heads, kind = self._decoder.heads, self._decoder.embedding
        if place:
            self._kept = [
                (kind.new_empty(place, heads.keys, heads.width), kind.new_empty(place, heads.keys, heads.width))
                for _ in self._decoder.layers
            ]
        place = 0
        for chunk in self._chunks(prefixes):
            place += self._keep(chunk, place)

    def own_tokens(self, key: int, request: GenerationRequest) -> int:
        """Return how many tokens of a prompt are still to be computed."""
        return len(request.input_ids) - self._shared.get(key, (0, 0))[1]

    def read(self, slots: Sequence[int], keys: Sequence[int], requests: Mapping[int, GenerationRequest]) -> Tensor:
        """Fill slots with prompts and return the first token of each answer, int64 [prompts]."""
        begins = [self._shared.get(key, (0, 0))[1] for key in keys]
        parts = [_Part(requests[key].input_ids[b:], b) for key, b in zip(keys, begins, strict=True)]
        ids, prompts, last = self._pack(parts)
        placed = torch.tensor(slots, device=self._device)
        sources, targets, places = self._copies(slots, keys)
        longest = max(len(requests[key].input_ids) for key in keys)
        total = min(self._cache.capacity, -(-longest // _ALIGNED) * _ALIGNED)
        starts = torch.tensor(begins, device=self._device)
        heads, masks = self._decoder.heads, dict[int | None, Tensor]()

        def attend_and_keep(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = heads.split(qkv)
            window = self._decoder.layers[layer].window
            self._cache.fill(layer, (k, v), placed[prompts.numbers], prompts.places)
            if not len(sources):
                return attend(q, k, v, prompts, window).flatten(1)
            keys_of, values_of = self._kept[layer]
            self._cache.fill(layer, (keys_of[sources], values_of[sources]), targets, places)
            if window.tokens not in masks:
                sizes = heads.queries // heads.keys, total
                masks[window.tokens] = mask_of(prompts, starts, sizes, window.tokens, q)
            kept = self._cache.sequences(layer, placed, total)
            return attend_to_kept(q, kept, prompts, masks[window.tokens], window).flatten(1)

        return self._decoder.next_ids(ids, self._decoder.angles(prompts.places), attend_and_keep, last)

    def _chunks(self, prefixes: Sequence[Prefix]) -> list[list[_Part]]:
        chunks: list[list[_Part]] = []
        room = 0
        for prefix in prefixes:
            if len(prefix.ids) > room:
                chunks.append([])
                room = self._room.prompt_tokens
            chunks[-1].append(_Part(prefix.ids))
            room -= len(prefix.ids)
        return chunks

    def _keep(self, parts: Sequence[_Part], place: int) -> int:
        """Run common prefixes, keep their keys and values from ``place`` on, and return how many tokens they are."""
        ids, prompts, last = self._pack(parts)

        def attend_and_keep(layer: int, qkv: Tensor) -> Tensor:
            q, k, v = self._decoder.heads.split(qkv)
            for kept, new in zip(self._kept[layer], (k, v), strict=True):
                kept[place : place + len(new)] = new
            return attend(q, k, v, prompts, self._decoder.layers[layer].window).flatten(1)

        self._decoder.next_ids(ids, self._decoder.angles(prompts.places), attend_and_keep, last)
        return len(ids)

    def _pack(self, parts: Sequence[_Part]) -> tuple[Tensor, Prompts, Tensor]:
        """Return the ids of parts one after the other, where each belongs, and the place of each part's last token."""
        counts = torch.tensor([len(part.ids) for part in parts])
        ends = counts.cumsum(0)
        numbers = torch.repeat_interleave(torch.arange(len(parts)), counts)
        rows = torch.arange(len(numbers)) - (ends - counts)[numbers]
        places = rows + torch.tensor([part.begin for part in parts])[numbers]
        ids = torch.tensor([i for part in parts for i in part.ids])
        # In one piece, because the device waits for every copy from the host.
        sent = torch.stack([ids, places, numbers, rows]).to(self._device)
        packed = Prompts(len(parts), int(counts.max()), places=sent[1], numbers=sent[2], rows=sent[3])
        return sent[0], packed, (ends - 1).to(self._device)

    def _copies(self, slots: Sequence[int], keys: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return which kept tokens go to which slots and places."""
        sources: list[int] = []
        targets: list[int] = []
        places: list[int] = []
        for slot, key in zip(slots, keys, strict=True):
            first, count = self._shared.get(key, (0, 0))
            sources += range(first, first + count)
            targets += [slot] * count
            places += range(count)
        sent = torch.tensor([sources, targets, places]).to(self._device)
        return sent[0], sent[1], sent[2]
