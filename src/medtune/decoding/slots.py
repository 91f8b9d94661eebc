"""Decodes many prompts greedily: as a sequence ends, the next prompt takes its slot."""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medtune.decoding.cache import SlotCache
from medtune.decoding.capture import CapturedSteps, RunStep
from medtune.decoding.model import Decoder
from medtune.decoding.prompt_attention import Prompts, attend
from medtune.decoding.state import Admitted, DecodeState
from medtune.plugins.contracts import GenerationRequest

__all__ = ["Decoding"]

_STEPS_BETWEEN_LOOKS = 4
"""Steps until the host asks which sequences have ended; each of them decodes at most this many tokens in vain."""
_ADMIT_SHARE = 32
"""Prompts wait until one slot in so many is free: prompts are cheaper several at a time."""
_FEWEST_ROWS = 4


class Decoding:
    """One cache full of sequences.

    Args:
        decoder: the model.
        size: sequences decoded together, and most tokens of each, prompt and answer.
        prompt_tokens: most prompt tokens, padded, that run through the model at once; a longer prompt runs alone.
        stop_ids: ids that end an answer.
    """

    def __init__(self, decoder: Decoder, size: tuple[int, int], prompt_tokens: int, stop_ids: Sequence[int]) -> None:
        weight = decoder.embedding
        self._decoder, self._device, self._prompt_tokens = decoder, weight.device, prompt_tokens
        self._cache = SlotCache(len(decoder.layers), decoder.heads, size, weight.dtype, weight.device)
        self._state = DecodeState(*size, stop_ids, weight.device)

    def run(self, requests: Mapping[int, GenerationRequest], answers: dict[int, list[int]]) -> None:
        """Decode requests.

        Args:
            requests: by any key; those with the longest answers begin first, so that the last ones end together.
            answers: filled with the answers' ids under the same keys, stop id included, each as soon as it is whole.
        """
        step = self.steps()
        waiting = deque(sorted(requests, key=lambda k: (-requests[k].max_new_tokens, -len(requests[k].input_ids))))
        inside: dict[int, int] = {}
        rows = self._cache.slots
        free = list(range(rows))
        while waiting or inside:
            if waiting and (not inside or len(free) >= min(len(waiting), max(1, rows // _ADMIT_SHARE))):
                self._admit(waiting, requests, inside, free)
            elif not waiting:
                rows = self._shrink(rows, inside, requests)
            for _ in range(_STEPS_BETWEEN_LOOKS):
                step(rows)
            goes_on = self._state.going_on()
            done = [slot for slot in inside if not goes_on[slot]]
            for slot, answer in zip(done, self._state.answers(done), strict=True):
                answers[inside.pop(slot)] = answer
                heapq.heappush(free, slot)

    def steps(self) -> RunStep:
        """Return what runs a step: captured on a GPU.

        It is not kept here: the two would hold each other, and the cache stay in memory until Python finds the circle.
        """
        return CapturedSteps(self._run_step) if self._device.type == "cuda" else self._run_step

    def _admit(
        self,
        waiting: deque[int],
        requests: Mapping[int, GenerationRequest],
        inside: dict[int, int],
        free: list[int],
    ) -> None:
        """Run waiting prompts through the model, as many as there are free slots."""
        while waiting and free:
            slots: list[int] = []
            prompts: list[GenerationRequest] = []
            longest = 0
            while waiting and free:
                prompt = requests[waiting[0]]
                longest = max(longest, len(prompt.input_ids))
                if prompts and longest * (len(prompts) + 1) > self._prompt_tokens:
                    break
                slots.append(heapq.heappop(free))
                inside[slots[-1]] = waiting.popleft()
                prompts.append(prompt)
            lengths = [len(prompt.input_ids) for prompt in prompts]
            first = self._read(slots, prompts, lengths)
            self._state.admit(Admitted(slots, lengths, [p.max_new_tokens for p in prompts], first))

    def _read(self, slots: list[int], prompts: Sequence[GenerationRequest], lengths: list[int]) -> Tensor:
        """Fill the cache with prompts, one after the other without padding; return the first token of each answer."""
        counts = torch.tensor(lengths)
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        numbers = torch.repeat_interleave(torch.arange(len(slots)), counts)
        places = torch.arange(int(offsets[-1])) - offsets[numbers]
        ids = torch.tensor([i for prompt in prompts for i in prompt.input_ids])
        # In one piece, because the device waits for every copy from the host.
        sent = torch.stack([ids, places, numbers, torch.tensor(slots)[numbers]]).to(self._device)
        last = (offsets[1:] - 1).to(self._device)
        packed = Prompts(len(slots), max(lengths), sent[1], sent[2])

        def attend_and_keep(layer: int, qkv: Tensor) -> Tensor:
            self._cache.fill(layer, qkv, sent[3], sent[1])
            window = self._decoder.layers[layer].window
            return attend(*self._decoder.heads.split(qkv), packed, window).flatten(1)

        return self._decoder.next_ids(sent[0], self._decoder.angles(sent[1]), attend_and_keep, last)

    def _run_step(self, rows: int) -> None:
        """Decode one token of each of the first rows."""
        state, decoder = self._state, self._decoder
        lengths = state.lengths[:rows]

        def attend_to_cache(layer: int, qkv: Tensor) -> Tensor:
            return self._cache.attend(layer, qkv, lengths, decoder.layers[layer].window)

        state.advance(decoder.next_ids(state.tokens[:rows], decoder.angles(lengths), attend_to_cache))

    def _shrink(self, rows: int, inside: dict[int, int], requests: Mapping[int, GenerationRequest]) -> int:
        """Halve the rows of a step while the sequences fit, moving those that stand too far back."""
        fewer = rows
        while fewer // 2 >= max(_FEWEST_ROWS, len(inside)):
            fewer //= 2
        free = [slot for slot in range(fewer) if slot not in inside]
        for source in [slot for slot in inside if slot >= fewer]:
            target = free.pop()
            request = requests[inside[source]]
            self._cache.move(source, target, len(request.input_ids) + request.max_new_tokens)
            self._state.move(source, target)
            inside[target] = inside.pop(source)
        return fewer
