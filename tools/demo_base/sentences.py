"""Sentences of the invented domain: what notes and abstracts say about entities, tokens joined by spaces."""

from collections.abc import Sequence

from demo_base import words
from demo_base.draw import Draw, Tagged

__all__ = ["paragraph", "tagged_sentence"]

CLAUSES: tuple[str, ...] = (
    "the {person} developed {disease} after {time}",
    "a {person} with {disease} received {chemical} {route}",
    "{chemical} reduced {disease} in {group}",
    "{disease} recurred in {number} {group}",
    "{number} cases of {disease} were seen at the {place}",
    "exposure to {chemical} was linked to {disease}",
    "no sign of {disease} was found in the {site}",
    "mutation of {gene} leads to {disease}",
    "{chemical} was given {route} for {time}",
    "the dose of {chemical} was lowered to {number} mg",
    "levels of {gene} rose in {group} with {disease}",
    "{disease} and {disease} often occur together",
    "{chemical} or {chemical} may be tried",
    "a {test} of the {site} showed {disease}",
    "the {person} came to the {place} with {disease} of the {site}",
    "treatment with {chemical} lasted {time}",
    "{gene} is silent in {disease}",
    "{group} fed {chemical} did not get {disease}",
    "family history of {disease} was noted",
    "the {person} stopped {chemical} because of {disease}",
    "acute care for {disease} was not needed",
    "chronic use of {chemical} is common in {group}",
    "{chemical} blocks {gene} in {group}",
    "early {disease} is rare in {group}",
)
LABELLED_CLAUSES: tuple[str, ...] = (  # a token that is itself ":", which a scorer must not split at
    "diagnosis : {disease} of the {site}",
    "plan : {chemical} {number} mg {route}",
    "history : {disease} for {time}",
    "result : {gene} raised by {chemical}",
)
_LABELLED_SHARE = 0.06


def tagged_sentence(draw: Draw, kind: str | None = None, least_words: int = 6) -> list[Tagged]:
    """Return a sentence of ``least_words`` or more tokens; its first clause mentions ``kind`` where one is asked."""
    wanted = _CLAUSES_OF[kind] if kind else CLAUSES
    labelled = draw.chance(_LABELLED_SHARE)
    tokens = draw.tagged(draw.pick(LABELLED_CLAUSES if labelled else wanted))
    while len(tokens) < least_words:
        tokens += draw.tagged(draw.pick(words.LINKS)) + draw.tagged(draw.pick(CLAUSES))
    return [*tokens, Tagged(".", None, first=False)]


def paragraph(draw: Draw, least_words: int) -> str:
    """Return sentences of together ``least_words`` or more tokens."""
    parts: list[str] = []
    count = 0
    while not parts or count < least_words:
        tokens = tagged_sentence(draw, least_words=6 + int(draw.rng.random() * 12))
        parts.append(" ".join(token.text for token in tokens))
        count += len(tokens)
    return " ".join(parts)


def _mentioning(kind: str, clauses: Sequence[str]) -> tuple[str, ...]:
    return tuple(clause for clause in clauses if f"{{{kind}}}" in clause)


_CLAUSES_OF = {kind: _mentioning(kind, CLAUSES) for kind in ("disease", "chemical", "gene", "test")}
