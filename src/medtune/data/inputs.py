"""Finds the token at which the input of an encoded row begins, behind its instruction."""

from collections.abc import Sequence
from typing import Any

from medtune.data.encode import Encoder
from medtune.plugins.contracts import Example, Message

__all__ = ["input_starts"]


def input_starts(examples: Sequence[Example], token_ids: Sequence[Any], encoder: Encoder) -> list[int]:
    """Return where the second paragraph of each row's first question begins, 0 where it has one paragraph only.

    Args:
        examples: rows.
        token_ids: their ids, one array each.
        encoder: that made them.
    """
    return [_start(*each, encoder) for each in zip(examples, token_ids, strict=True)]


def _start(example: Example, ids: Any, encoder: Encoder) -> int:
    first = next((i for i, m in enumerate(example.messages) if m["role"] == "user"), None)
    if first is None:
        return 0
    instruction, border, _rest = example.messages[first]["content"].strip().partition("\n\n")
    if not border:
        return 0
    turn: Message = {"role": "user", "content": instruction}
    alone = encoder.prompt_ids([*example.messages[:first], turn])
    common = 0
    for own, other in zip(ids.tolist(), alone, strict=False):
        if own != other:
            break
        common += 1
    return common
