"""Examples before the question: what an untuned model does with a few rows of the training set in its prompt."""

import random
from collections.abc import Callable, Sequence

from medtune.evaluation.recognition import question_of
from medtune.plugins.contracts import Example, Message

__all__ = ["draw_shots", "with_shots"]


def draw_shots(rows: Sequence[Example], asked: Sequence[Example], count: int, seed: int) -> dict[str, list[Example]]:
    """Return source -> ``count`` training rows of it, drawn by the seed: none that is asked, none twice.

    Args:
        rows: training rows.
        asked: rows whose questions may not be among the examples.
        count: of each source; fewer where it has no more.
        seed: of the draws.
    """
    questions = {question_of(example) for example in asked}
    pools: dict[str, dict[str, Example]] = {}
    for example in rows:
        question = question_of(example)
        if question not in questions:
            pools.setdefault(example.source, {}).setdefault(question, example)
    drawn: dict[str, list[Example]] = {}
    for source, pool in pools.items():
        some = list(pool.values())
        drawn[source] = random.Random(f"{seed} shots {source}").sample(some, min(count, len(some)))
    return drawn


def with_shots(
    asked: Sequence[Message], shots: Sequence[Example], fits: Callable[[Sequence[Message]], bool]
) -> tuple[list[Message], int]:
    """Return a conversation in which examples come before the question, and how many of them fit.

    Args:
        asked: the turns that a row asks, system turns first.
        shots: the examples; the last ones are left out first.
        fits: whether a conversation has room.
    """
    start = next((i for i, message in enumerate(asked) if message["role"] != "system"), len(asked))
    for count in range(len(shots), 0, -1):
        turns: list[Message] = [
            {"role": message["role"], "content": message["content"]}
            for shot in shots[:count]
            for message in shot.messages
            if message["role"] != "system"
        ]
        found = [*asked[:start], *turns, *asked[start:]]
        if fits(found):
            return found, count
    return list(asked), 0
