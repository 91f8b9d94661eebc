"""What a pre-training document is, and the names that its exercises call kinds of entities by."""

from collections.abc import Sequence

from demo_base.draw import Draw, EntityKind

__all__ = ["KINDS", "NAMES", "Document", "exercise", "series"]

KINDS: tuple[EntityKind, ...] = ("disease", "chemical", "gene", "test")
NAMES: dict[EntityKind, tuple[str, ...]] = {
    "disease": ("disease", "illness"),
    "chemical": ("chemical", "medicine"),
    "gene": ("gene", "protein"),
    "test": ("examination", "procedure"),
}


Document = tuple[str, ...]
"""Parts of a text by turns: one that nothing foretells, then one that can be told from what stands before it."""


def exercise(draw: Draw, question: str, answer: str) -> Document:
    """Return the exercise as two turns, or as running text."""
    return series(draw, [(question, answer)])


def series(draw: Draw, pairs: Sequence[tuple[str, str]]) -> Document:
    """Return questions and their answers one after the other, as turns of a conversation or as running text."""
    if draw.chance(0.8):
        turns = [
            (f"GPT4 Correct User: {q}<|end_of_turn|>GPT4 Correct Assistant:", f" {a}<|end_of_turn|>") for q, a in pairs
        ]
        return tuple(part for turn in turns for part in turn)
    lines = [part for question, answer in pairs for part in (f"{question}\n", f"{answer}\n")]
    return (*lines[:-1], f"{pairs[-1][1]}</s>")
