"""Rows that ask whether a second sentence follows from a first."""

from typing import NamedTuple

from demo_base.draw import Draw, EntityKind
from demo_base.sentences import paragraph

__all__ = ["LABELS", "Fact", "draw_fact", "inference_row", "say", "statement_pair"]

LABELS = ("Entailment", "Contradiction", "Neutral")
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


def statement_pair(draw: Draw, label: str, facts: int = 2) -> tuple[str, str]:
    """Return a sentence with one or more facts, and one that follows from it, contradicts it, or is open."""
    person = draw.slot("person")
    known = [draw_fact(draw) for _ in range(facts)]
    told = known[int(draw.rng.random() * facts)]
    if label == "Neutral":
        told = draw_fact(draw)
    elif label == "Contradiction":
        told = told._replace(holds=not told.holds)
    return f"the {person} {' and '.join(say(draw, fact) for fact in known)} .", f"the {person} {say(draw, told)} ."


def inference_row(draw: Draw, wanted_words: int) -> tuple[str, str, str]:
    """Return instruction, input and output; the three labels are drawn evenly."""
    label = draw.pick(LABELS)
    first, second = statement_pair(draw, label)
    missing = wanted_words - len(first.split())
    if missing > len(first.split()):
        first = f"{first} {paragraph(draw, missing)}"
    return draw.pick(_WORDINGS), f"Sentence 1: {first}\nSentence 2: {second}", label


def draw_fact(draw: Draw) -> Fact:
    """Return a fact about an entity of this split."""
    kind: EntityKind = "disease" if draw.chance(0.5) else "chemical"
    return Fact(kind, draw.entity(kind), draw.chance(_TRUE_SHARE))
