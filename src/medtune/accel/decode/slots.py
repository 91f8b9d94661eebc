"""Decodes many prompts greedily: as a sequence ends, the next prompt takes its slot."""

import heapq
from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medtune.accel.decode.cache import SlotCache
from medtune.accel.decode.capture import CapturedSteps, RunStep
from medtune.accel.decode.drafting import DraftCounts, Drafter, DraftMemory
from medtune.accel.decode.model import Decoder
from medtune.accel.decode.plan import PromptRoom, SlotSize
from medtune.accel.decode.prompts import PromptReader
from medtune.accel.decode.state import Admitted, DecodeState
from medtune.accel.decode.verified import Verifier, widest
from medtune.plugins.contracts import GenerationRequest, RequestFeed

__all__ = ["Decoding"]

_STEPS_BETWEEN_LOOKS = 4
"""Steps until the host asks which sequences have ended; each of them decodes at most this many tokens in vain."""
_ADMIT_SHARE = 32
"""Prompts wait until one slot in so many is free: prompts are cheaper several at a time."""
_FEWEST_ROWS = 4


class _Given:
    """Requests that are all there at the beginning."""

    def __init__(self, requests: Mapping[int, GenerationRequest], answers: dict[int, list[int]], fewest: int) -> None:
        order = sorted(requests, key=lambda k: (-requests[k].max_new_tokens, -len(requests[k].input_ids)))
        self._requests, self._answers, self._fewest, self._waiting = requests, answers, fewest, deque(order)

    def take(self, most: int, *, wait: bool) -> dict[int, GenerationRequest]:
        if not wait and most < min(len(self._waiting), self._fewest):
            return {}
        keys = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        return {key: self._requests[key] for key in keys}

    def watches(self, _key: int) -> bool:
        return False

    def progress(self, _key: int, _ids: Sequence[int]) -> bool:
        return True

    def finish(self, key: int, ids: Sequence[int]) -> None:
        self._answers[key] = list(ids)


class Decoding:
    """One cache full of sequences.

    Args:
        decoder: the model.
        size: of the cache.
        room: how much of prompts is worked on at once.
        stop_ids: ids that end an answer.
        drafts: whether several tokens of an answer are drafted and verified in one pass.
        allowed: where answers keep to the form of their drafts, the most ids that it allows in one place; 0 where they are
            free.
    """

    def __init__(
        self,
        decoder: Decoder,
        size: SlotSize,
        room: PromptRoom,
        stop_ids: Sequence[int],
        *,
        drafts: bool = True,
        allowed: int = 0,
    ) -> None:
        weight = decoder.embedding
        self._decoder, self._device, self._prompt_tokens = decoder, weight.device, room.prompt_tokens
        self._cache = SlotCache(len(decoder.layers), decoder.heads, size, weight.dtype, weight.device)
        self._reader = PromptReader(decoder, self._cache, room)
        self._state = DecodeState(size.slots, size.capacity, stop_ids, weight.device)
        self._whole: list[tuple[int, list[int]]] = []
        self._verifier = Verifier(decoder, self._cache, self._state, allowed)
        self._is_drafting, self._is_constrained = drafts, allowed > 0
        self._memory, self._drafters = DraftMemory(), dict[int, Drafter]()
        self.counts: dict[int, DraftCounts] = {}

    def run(self, requests: Mapping[int, GenerationRequest], answers: dict[int, list[int]]) -> None:
        """Decode requests.

        Args:
            requests: by any key; those with the longest answers begin first, so that the last ones end together.
            answers: filled with the answers' ids under the same keys, stop id included, each as soon as it is whole.
        """
        self._reader.share(requests)
        self.run_from(_Given(requests, answers, max(1, self._cache.slots // _ADMIT_SHARE)))

    def run_from(self, feed: RequestFeed) -> None:
        """Decode what a feed gives until it has no more; a sequence that ends leaves its slot to the next at once."""
        step, verify = self.steps(), self._verifier.passes()
        requests: dict[int, GenerationRequest] = {}
        inside: dict[int, int] = {}
        while True:
            if not inside:
                self._hand_over(feed)
            while new := feed.take(self._cache.slots - len(inside), wait=not inside):
                requests.update(new)
                # Meanwhile others come: a step is cheapest with all rows full.
                self._admit(deque(new), requests, inside)
            if not inside:
                return
            rows = self._shrink(self._cache.slots, inside, requests)
            self._go_on(rows, inside, step, verify)
            self._hand_over(feed)  # while a GPU decodes: whoever gets an answer keeps Python busy with it
            for slot in self._tell(feed, inside):
                key = inside.pop(slot)
                self.counts[key] = self._drafters.pop(key).counts
                del requests[key]
            if self._device.type == "cpu":
                self._hand_over(feed)

    def _go_on(self, rows: int, inside: Mapping[int, int], step: RunStep, verify: RunStep) -> None:
        """Decode some tokens of each sequence: those that drafts win in one pass, else one after the other."""
        if self._is_constrained:
            self._keep_to_form(rows, inside, verify)
        elif drafts := self._drafts(rows, inside):
            self._verify(rows, drafts, inside, verify)
        else:
            for _ in range(_STEPS_BETWEEN_LOOKS):
                step(rows)
            for key in inside.values():
                self._drafters[key].is_behind = True

    def _drafts(self, rows: int, inside: Mapping[int, int]) -> dict[int, list[int]]:
        """Return slot -> what its answer may go on with, for those for which drafts pay."""
        if not self._is_drafting:
            return {}
        drafters = {slot: self._drafters[key] for slot, key in inside.items()}
        awake = [slot for slot, drafter in drafters.items() if drafter.is_awake]
        behind = [slot for slot in awake if drafters[slot].is_behind]
        for slot, answer in zip(behind, self._state.answers(behind), strict=True):
            drafters[slot].take(answer[drafters[slot].known :])
            drafters[slot].is_behind = False
        most = widest(rows) - 1
        found = {slot: ids for slot in awake if (ids := drafters[slot].propose(most))}
        return found if self._verifier.pays(rows, found, inside) else {}

    def _keep_to_form(self, rows: int, inside: Mapping[int, int], verify: RunStep) -> None:
        """Go on with answers in which only the choices of their form are the model's."""
        drafters = {slot: self._drafters[key] for slot, key in inside.items()}
        for slot, drafter in drafters.items():
            if drafter.is_behind:
                drafter.take(self._state.answers([slot])[0])
                drafter.is_behind = False
        found = {slot: drafter.propose_allowed(widest(rows) - 1) for slot, drafter in drafters.items()}
        drafts = {slot: ids for slot, (ids, _) in found.items()}
        allowed = {slot: sets for slot, (_, sets) in found.items()}
        gains = self._verifier.gain(rows, drafts, inside, verify, allowed)
        for slot, drafter in drafters.items():
            drafter.take(gains[slot])

    def _verify(
        self, rows: int, drafts: Mapping[int, Sequence[int]], inside: Mapping[int, int], verify: RunStep
    ) -> None:
        gains = self._verifier.gain(rows, drafts, inside, verify)
        for slot, key in inside.items():
            drafter, ids = self._drafters[key], gains[slot]
            if drafter.is_behind or not drafter.is_awake:
                drafter.is_behind = True
                continue
            drafter.take(ids)
            if slot in drafts:
                drafted = len(drafts[slot])
                drafter.judge(drafted, min(drafted, sum(a == b for a, b in zip(ids, drafts[slot], strict=False))))

    def _hand_over(self, feed: RequestFeed) -> None:
        for key, answer in self._whole:
            feed.finish(key, answer)
        self._whole.clear()

    def _tell(self, feed: RequestFeed, inside: Mapping[int, int]) -> list[int]:
        """Tell a feed how far its answers are, and return the slots of those that have ended."""
        goes_on = self._state.going_on()
        done = [slot for slot in inside if not goes_on[slot]]
        self._whole += [(inside[slot], answer) for slot, answer in zip(done, self._state.answers(done), strict=True)]
        watched = [slot for slot, key in inside.items() if goes_on[slot] and feed.watches(key)]
        told = zip(watched, self._state.answers(watched), strict=True)
        left = [slot for slot, answer in told if not feed.progress(inside[slot], answer)]
        self._state.end(left)
        return [*done, *left]

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
    ) -> None:
        """Run waiting prompts through the model, as many as there are free slots."""
        free = [slot for slot in range(self._cache.slots) if slot not in inside]
        while waiting and free:
            slots: list[int] = []
            keys: list[int] = []
            longest = 0
            while waiting and free:
                longest = max(longest, self._reader.own_tokens(waiting[0], requests[waiting[0]]))
                if keys and longest * (len(keys) + 1) > self._prompt_tokens:
                    break
                slots.append(heapq.heappop(free))
                keys.append(waiting.popleft())
                inside[slots[-1]] = keys[-1]
                self._drafters[keys[-1]] = Drafter(requests[keys[-1]], self._memory)
            first = self._reader.read(slots, keys, requests)
            if self._is_constrained:
                begins = [self._drafters[key].propose_allowed(1)[0] for key in keys]
                first = torch.tensor([ids[0] for ids in begins]).to(first.device)
            lengths = [len(requests[key].input_ids) for key in keys]
            self._state.admit(Admitted(slots, lengths, [requests[key].max_new_tokens for key in keys], first))

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
