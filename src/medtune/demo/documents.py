"""What a pre-training document is, and the names that its exercises call kinds of entities by."""

from typing import NamedTuple

from medtune.demo.draw import Draw, EntityKind

__all__ = ["KINDS", "NAMES", "Document", "exercise"]

KINDS: tuple[EntityKind, ...] = ("disease", "chemical", "gene", "test")
NAMES: dict[EntityKind, tuple[str, ...]] = {
    "disease": ("disease", "illness"),
    "chemical": ("chemical", "medicine"),
    "gene": ("gene", "protein"),
    "test": ("examination", "procedure"),
}


class Document(NamedTuple):
    """A text in two parts, the second of which can be told from the first; prose has an empty first part."""

    context: str
    continuation: str


def exercise(draw: Draw, question: str, answer: str) -> Document:
    """Return the exercise as two turns, or as running text."""
    if draw.chance(0.8):
        return Document(
            f"GPT4 Correct User: {question}<|end_of_turn|>GPT4 Correct Assistant:", f" {answer}<|end_of_turn|>"
        )
    return Document(f"{question}\n", f"{answer}</s>")
