"""Decides how many sequences are decoded together and how long each may get, by the memory there is."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DecodePlan", "PromptRoom", "Shape", "SlotGroup", "SlotSize", "plan_decoding"]

_MOST_SLOTS = 512
"""Above this many sequences a step is bound by arithmetic, and more of them only wait longer."""
_FEW_SLOTS = 64
_PROMPT_TOKENS = 8192
_FEWEST_PROMPT_TOKENS = 512
_ROUND = 64
_PREFIX_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """Memory that decoding takes, in bytes.

    Attributes:
        cache_per_token: keys and values of one token.
        work_per_token: activations of one prompt token.
        dequantized: weights that may be dequantized once.
        scratch: memory for dequantizing them layer by layer instead.
        per_slot: of one sequence besides its keys and values, such as a row of logits.
        fixed: taken in any case, such as adapters in the compute type.
    """

    cache_per_token: int
    work_per_token: int
    dequantized: int
    scratch: int
    per_slot: int
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class SlotSize:
    """How many sequences a cache holds, and the most tokens of each, prompt and answer."""

    slots: int
    capacity: int


@dataclass(frozen=True, slots=True)
class PromptRoom:
    """How much of prompts is worked on at once.

    Attributes:
        prompt_tokens: most prompt tokens, padded, that run through the model at once; a longer prompt runs alone.
        prefix_tokens: most tokens of common prefixes of prompts whose keys and values are kept.
    """

    prompt_tokens: int
    prefix_tokens: int


@dataclass(frozen=True, slots=True)
class SlotGroup:
    """Requests, by their index, that share one cache, and its size."""

    members: tuple[int, ...]
    size: SlotSize


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """How requests are decoded.

    Attributes:
        dequantize: whether compressed weights are dequantized once for all steps.
        groups: requests that share one cache each.
        room: how much of prompts is worked on at once.
        lacking: bytes above the budget that one sequence at a time takes, 0 where it fits.
    """

    dequantize: bool
    groups: tuple[SlotGroup, ...]
    room: PromptRoom
    lacking: int = 0


def plan_decoding(shape: Shape, needs: Sequence[int], budget: int, wanted: int | None) -> DecodePlan:
    """Plan the decoding of requests.

    Args:
        shape: what it costs.
        needs: most tokens of each request, prompt and answer.
        budget: bytes that may be taken.
        wanted: slots, None for as many as pay.
    """
    most = min(wanted or _MOST_SLOTS, len(needs))
    budget -= shape.fixed
    left = budget - shape.dequantized
    # Dequantized weights save 4 ms a step; they are not worth decoding fewer sequences together than a step can carry.
    smallest = min(most, _FEW_SLOTS) * (_rounded(max(needs)) * shape.cache_per_token + shape.per_slot)
    dequantize = shape.dequantized == 0 or left - _FEWEST_PROMPT_TOKENS * shape.work_per_token >= smallest
    left = left if dequantize else budget - shape.scratch
    one = _rounded(max(needs)) * shape.cache_per_token + shape.per_slot
    lacking = max(0, one + _FEWEST_PROMPT_TOKENS * shape.work_per_token - left)
    prompt_tokens = min(int(left * 0.3), left - one) // max(shape.work_per_token, 1)
    prompt_tokens = max(_FEWEST_PROMPT_TOKENS, min(_PROMPT_TOKENS, prompt_tokens))
    left -= prompt_tokens * shape.work_per_token
    order = sorted(range(len(needs)), key=lambda i: needs[i])
    whole = _group(shape, order, needs, left, most)
    groups = (
        [whole]
        if whole.size.slots >= most
        else [_group(shape, part, needs, left, most) for part in _by_doubling(order, needs)]
    )
    spare = min(_spare_tokens(shape, group, left) for group in groups)
    return DecodePlan(dequantize, tuple(groups), PromptRoom(prompt_tokens, spare), lacking)


def _spare_tokens(shape: Shape, group: SlotGroup, left: int) -> int:
    """Return how many tokens of common prefixes fit beside a group's slots."""
    spare = left - group.size.slots * (group.size.capacity * shape.cache_per_token + shape.per_slot)
    return max(0, min(_PREFIX_TOKENS, spare // max(shape.cache_per_token, 1)))


def _group(shape: Shape, part: Sequence[int], needs: Sequence[int], left: int, most: int) -> SlotGroup:
    capacity = _rounded(max(needs[i] for i in part))
    affordable = left // (capacity * shape.cache_per_token + shape.per_slot)
    return SlotGroup(tuple(part), SlotSize(max(1, min(most, affordable, len(part))), capacity))


def _by_doubling(order: Sequence[int], needs: Sequence[int]) -> list[list[int]]:
    """Split requests, shortest first, wherever the need has doubled, so that short ones do not take long slots."""
    parts: list[list[int]] = []
    for index in order:
        if not parts or _rounded(needs[index]) > 2 * _rounded(needs[parts[-1][0]]):
            parts.append([])
        parts[-1].append(index)
    return parts


def _rounded(tokens: int) -> int:
    return -(-tokens // _ROUND) * _ROUND
