"""Asks the same rows in other words, to see how far scores depend on the paraphrase of the instruction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medtune.evaluation.scoring import Evaluation
from medtune.plugins.contracts import Example, Message

__all__ = ["reworded", "spread"]

_BREAK = "\n\n"
"""What stands between instruction and input; an example without it has no instruction to exchange."""

_Kind = tuple[str, str | None]


def reworded(examples: Sequence[Example], variants: int) -> list[list[Example]]:
    """Return the examples ``variants`` times, with the instructions of their source taking turns.

    The paraphrases of a source are those that its own examples use, the most frequent ones first (MedTuned has five per
    task). Variant k moves each example k paraphrases on, so variant 0 is the examples as they are and every paraphrase meets
    every row once in as many variants as there are paraphrases. An example without a paraphrase to exchange stays as it is.

    Args:
        examples: rows whose first message is an instruction, a blank line and the input, with their task set where a
            source holds several tasks.
        variants: how many versions to return.
    """
    counts: dict[_Kind, Counter[str]] = {}
    for example in examples:
        if (instruction := _instruction(example)) is not None:
            counts.setdefault(_kind(example), Counter())[instruction] += 1
    paraphrases = {kind: [text for text, _times in count.most_common()] for kind, count in counts.items()}
    return [[_moved(example, paraphrases, step) for example in examples] for step in range(variants)]


def spread(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, Any]]:
    """Return how the primary figure of each task varies over paraphrases: metric, values, lowest, highest and mean."""
    found: dict[str, dict[str, Any]] = {}
    for name, first in evaluations[0].tasks.items() if evaluations else ():
        known = [evaluation.tasks[name].metrics.get(first.primary) for evaluation in evaluations]
        values = [value for value in known if value is not None]
        if len(values) < len(known):  # undefined: nothing is there to find
            continue
        found[name] = {
            "metric": first.primary,
            "values": values,
            "lowest": min(values),
            "highest": max(values),
            "mean": sum(values) / len(values),
        }
    return found


def _kind(example: Example) -> _Kind:
    """Return what the examples share that are asked for the same."""
    return example.source, example.task


def _instruction(example: Example) -> str | None:
    instruction, separator, _given = example.messages[_asked(example)]["content"].partition(_BREAK)
    return instruction if separator else None


def _asked(example: Example) -> int:
    """Return the place of the first message that is no system turn."""
    return int(example.messages[0]["role"] == "system" and len(example.messages) > 1)


def _moved(example: Example, paraphrases: Mapping[_Kind, Sequence[str]], step: int) -> Example:
    instruction = _instruction(example)
    if instruction is None or not step:
        return example
    choices = paraphrases[_kind(example)]
    chosen = choices[(choices.index(instruction) + step) % len(choices)]
    place = _asked(example)
    message = example.messages[place]
    changed: Message = {
        "role": message["role"],
        "content": f"{chosen}{_BREAK}{message['content'].partition(_BREAK)[2]}",
    }
    return replace(example, messages=(*example.messages[:place], changed, *example.messages[place + 1 :]))
