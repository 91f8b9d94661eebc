"""Finds the common prefixes of prompts, so that each is computed once, in scoring and in training."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Prefix", "prefix_groups", "shared_prefixes"]

_SHORTEST = 16
"""Tokens from which a common prefix is worth the trouble."""
_MOST_FOLLOWERS = 8
"""Samples that go on from one prefix in training: all their queries meet in the programs of its keys, which take as long."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A common prefix.

    Attributes:
        ids: its tokens.
        keys: the prompts that begin with it and go on, two or more.
    """

    ids: tuple[int, ...]
    keys: tuple[int, ...]

    @property
    def saved(self) -> int:
        """Tokens that need not be computed."""
        return len(self.ids) * (len(self.keys) - 1)


def prefix_groups(prompts: Mapping[int, Sequence[int]]) -> list[tuple[int, tuple[int, ...]]]:
    """Return how many tokens which prompts, two to eight, have in common, as training computes them once.

    Args:
        prompts: ids of each sample before the first that carries loss, by any key.
    """
    groups: list[tuple[int, tuple[int, ...]]] = []
    for prefix in shared_prefixes(prompts, sum(map(len, prompts.values()))):
        count = -(-len(prefix.keys) // _MOST_FOLLOWERS)
        groups += [(len(prefix.ids), prefix.keys[number::count]) for number in range(count)]
    return groups


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbours in the sorted order, from ``first`` to before ``end``, that share ``length`` tokens."""

    first: int
    end: int
    length: int

    @property
    def saved(self) -> int:
        return self.length * (self.end - self.first - 1) if self.length >= _SHORTEST else 0


@dataclass(slots=True)
class _Open:
    """Neighbours in the sorted order that share ``length`` tokens: where they begin, and the best found inside."""

    length: int
    first: int
    inside: list[_Group] = field(default_factory=list[_Group])


def shared_prefixes(prompts: Mapping[int, Sequence[int]], most_tokens: int) -> list[Prefix]:
    """Return prefixes, at most one for each prompt, that together save the most tokens.

    Each serves all prompts that have it, except those that a longer one serves.

    Args:
        prompts: ids by any key.
        most_tokens: of all prefixes together; those that save least are left out.
    """
    order = sorted(prompts, key=lambda key: list(prompts[key]))
    found: list[Prefix] = []
    while groups := _best(prompts, order):
        for group in groups:
            ids = tuple(prompts[order[group.first]][: group.length])
            found.append(Prefix(ids, tuple(order[group.first : group.end])))
        served = {key for prefix in found for key in prefix.keys}
        order = [key for key in order if key not in served]  # those left over may have something in common too
    chosen: list[Prefix] = []
    for prefix in sorted(found, key=lambda p: -p.saved):
        if len(prefix.ids) <= most_tokens:
            most_tokens -= len(prefix.ids)
            chosen.append(prefix)
    return chosen


def _best(prompts: Mapping[int, Sequence[int]], order: Sequence[int]) -> list[_Group]:
    """Return the groups of neighbours that save most.

    Groups of neighbours with a common prefix lie within each other like the nodes of a tree. Each is closed once the
    order leaves it; whether it or what lies inside saves more is decided then.
    """
    stack = [_Open(0, 0)]
    for index, length in enumerate([*_common(prompts, order), 0], start=1):
        first = index - 1
        closed: list[_Group] = []
        while stack[-1].length > length:
            top = stack.pop()
            first = top.first
            own = _Group(top.first, index, top.length)
            inside = top.inside + closed
            closed = [own] if own.saved >= sum(group.saved for group in inside) else inside
        if stack[-1].length < length:
            stack.append(_Open(length, first))
        stack[-1].inside += closed
    return [group for group in stack[0].inside if group.length >= _SHORTEST]


def _common(prompts: Mapping[int, Sequence[int]], order: Sequence[int]) -> Iterator[int]:
    """Yield how many tokens each prompt shares with the next one; of either at least one is left."""
    for key, following in itertools.pairwise(order):
        one, other = prompts[key], prompts[following]
        most = min(len(one), len(other)) - 1
        yield next((i for i in range(most) if one[i] != other[i]), max(most, 0))
