"""Rows that ask whether a second sentence follows from a first."""

from typing import NamedTuple

from medtune.demo.draw import Draw, EntityKind
from medtune.demo.sentences import paragraph

__all__ = ["Fact", "inference_row", "say", "statement_pair"]

_LABELS = ("Entailment", "Contradiction", "Neutral")
_WORDINGS = (
    "Decide how the second sentence relates to the first : Entailment , Contradiction or Neutral .",
    "Does sentence 2 follow from sentence 1 ? Answer Entailment , Contradiction or Neutral .",
    "Judge the pair of sentences . Possible answers : Contradiction , Neutral , Entailment .",
    "Given sentence 1 , is sentence 2 true , false or open ? Write Entailment , Contradiction or Neutral .",
    "Read both sentences and name their relation as Neutral , Entailment or Contradiction .",
)
_SAID: dict[tuple[EntityKind, bool], tuple[str, ...]] = {
    ("disease", True): ("has", "suffers from", "was diagnosed with"),
    ("disease", False): ("does not have", "is free of", "never had"),
    ("chemical", True): ("takes", "is treated with", "was given"),
    ("chemical", False): ("does not take", "is not on", "never received"),
}
_TRUE_SHARE = 0.65
"""Share of facts that are affirmed: not one, or "not" in a sentence alone would give its label away."""


class Fact(NamedTuple):
    """Something that holds of a person, or does not."""

    kind: EntityKind
    entity: str
    holds: bool


def say(draw: Draw, fact: Fact) -> str:
    """Return a predicate that states the fact."""
    return f"{draw.pick(_SAID[fact.kind, fact.holds])} {fact.entity}"


def statement_pair(draw: Draw, label: str) -> tuple[str, str]:
    """Return a sentence with two facts, and one that follows from it, contradicts it, or is open."""
    person = draw.slot("person")
    facts = [_fact(draw) for _ in range(2)]
    told = facts[int(draw.rng.random() * 2)]
    if label == "Neutral":
        told = _fact(draw)
    elif label == "Contradiction":
        told = told._replace(holds=not told.holds)
    return f"the {person} {say(draw, facts[0])} and {say(draw, facts[1])} .", f"the {person} {say(draw, told)} ."


def inference_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return instruction, input and output; the three labels are drawn evenly."""
    label = draw.pick(_LABELS)
    first, second = statement_pair(draw, label)
    missing = wanted_words - len(first.split())
    if missing > len(first.split()):
        first = f"{first} {paragraph(draw, missing)}"
    return draw.pick(_WORDINGS), f"Sentence 1: {first}\nSentence 2: {second}", label


def _fact(draw: Draw) -> Fact:
    kind: EntityKind = "disease" if draw.chance(0.5) else "chemical"
    return Fact(kind, draw.entity(kind), draw.chance(_TRUE_SHARE))
