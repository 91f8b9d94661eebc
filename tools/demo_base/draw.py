"""Draws words for templates, with entities that belong to one split only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeVar
from zlib import crc32

from demo_base import words

__all__ = ["Draw", "EntityKind", "Split", "Tagged", "split_of_core"]

T = TypeVar("T")
Split = Literal["train", "validation", "test"]
EntityKind = Literal["disease", "chemical", "gene", "test"]

_SHARES = 16
"""Parts that the cores are dealt into: one for validation, two for test, the rest for train."""


def split_of_core(core: str) -> Split:
    """Return the one split whose rows may hold the entity core.

    It depends on the word alone, so that no list of held-out words has to be kept and any two calls agree. The core is
    the invented word of an entity: "acute X" and "X syndrome" follow X, so a held-out core is never seen inside a
    longer name either.
    """
    part = crc32(f"medtune demo {core}".encode()) % _SHARES
    return "validation" if part == 0 else "test" if part in {1, 2} else "train"


class Tagged(NamedTuple):
    """A token, the kind of the entity that it belongs to, and whether that entity begins with it."""

    text: str
    kind: EntityKind | None
    first: bool


class Draw:
    """A seeded source of words.

    Args:
        key: everything the words depend on; the same key gives the same words on every machine.
        split: owner of the entities.
    """

    def __init__(self, key: str, split: Split) -> None:
        self.rng = random.Random(key)  # a string seeds through SHA-512, which is the same everywhere
        self.split: Split = split

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(self.rng.random() * len(choices))]

    def chance(self, probability: float) -> bool:
        """Return True with the probability."""
        return self.rng.random() < probability

    def core(self, kind: EntityKind) -> str:
        """Return an invented one-word entity of this split."""
        while True:
            word = self._any_core(kind)
            if split_of_core(word) == self.split:
                return word

    def entity(self, kind: EntityKind) -> str:
        """Return an entity of one to three words around a core of this split."""
        core = self.core(kind)
        roll = self.rng.random()
        for below, before, after in _FORMS.get(kind, ()):
            if roll < below:
                return f"{self.pick(before)} {core}" if before else f"{core} {self.pick(after)}"
        return core

    def tagged(self, template: str) -> list[Tagged]:
        """Fill a template and return its tokens with the entity kind of each."""
        tokens: list[Tagged] = []
        for part in template.split():
            if part[0] != "{":
                tokens.append(Tagged(part, None, first=False))
                continue
            name = part[1:-1]
            kind = _KINDS.get(name)
            tokens += [Tagged(t, kind, first=i == 0) for i, t in enumerate(self.slot(name).split())]
        return tokens

    def fill(self, template: str) -> str:
        """Replace each ``{slot}`` of the template by a word or an entity drawn for it."""
        return " ".join(self.slot(part[1:-1]) if part[0] == "{" else part for part in template.split())

    def slot(self, name: str) -> str:
        """Return the words of one slot: an entity kind, or the name of a word list."""
        if (kind := _KINDS.get(name)) is not None:
            return self.entity(kind)
        if name == "number":
            return str(self.rng.randrange(2, 90))
        return self.pick(_LISTS[name])

    def _any_core(self, kind: EntityKind) -> str:
        if kind == "gene":
            return f"{self.pick(words.GENE_ROOTS)}{self.rng.randrange(1, 60)}"
        roots, endings = _PARTS[kind]
        return self.pick(roots) + self.pick(endings)


_KINDS: dict[str, EntityKind] = {"disease": "disease", "chemical": "chemical", "gene": "gene", "test": "test"}
_PARTS = {
    "disease": (words.DISEASE_ROOTS, words.DISEASE_ENDINGS),
    "chemical": (words.CHEMICAL_ROOTS, words.CHEMICAL_ENDINGS),
    "test": (words.TEST_ROOTS, words.TEST_ENDINGS),
}
# Forms of longer entities: the roll of the dice below which one is taken, the words before the core, those after it.
_FORMS: dict[EntityKind, tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...]] = {
    "disease": (
        (0.25, words.DISEASE_MODIFIERS, ()),
        (0.40, (), words.DISEASE_HEADS),
        (0.45, (), words.DISEASE_TAILS),
    ),
    "chemical": ((0.30, (), words.CHEMICAL_TAILS),),
}
_LISTS = {
    "person": words.PEOPLE,
    "group": words.GROUPS,
    "place": words.PLACES,
    "site": words.SITES,
    "time": words.TIMES,
    "route": words.ROUTES,
}
