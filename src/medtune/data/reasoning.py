"""The reasoning that an answer may carry: where it stands when the template has no place for it."""

from collections.abc import Sequence

from medtune.data.final_answer import split_reasoning
from medtune.errors import DataError
from medtune.plugins.contracts import Message

__all__ = ["apart", "has_reasoning", "inlined", "stripped"]


def has_reasoning(messages: Sequence[Message]) -> bool:
    """Whether a turn carries reasoning beside its content."""
    return any("reasoning_content" in message for message in messages)


def stripped(message: Message) -> Message:
    """Return a turn with its texts stripped of outer white space: templates differ in whether they do."""
    turn: Message = {"role": message["role"], "content": message["content"].strip()}
    if reasoning := message.get("reasoning_content", "").strip():
        turn["reasoning_content"] = reasoning
        turn["reasoning_inline"] = message.get("reasoning_inline", False)
    return turn


def apart(messages: Sequence[Message]) -> list[Message]:
    """Return the turns with the block of reasoning that an answer begins with as its ``reasoning_content``."""
    turns = list(messages)
    for place, message in enumerate(turns):
        found = None if "reasoning_content" in message else split_reasoning(message["content"].strip())
        if found and all(found) and message["role"] == "assistant":
            turns[place] = {"role": "assistant", "content": found[1], "reasoning_content": found[0]}
    return turns


def inlined(messages: Sequence[Message]) -> list[Message]:
    """Return the turns with reasoning at the beginning of their contents, a blank line between.

    Raises:
        DataError: a row has reasoning of its own field, which must not be mixed into its answer.
    """
    turns: list[Message] = []
    for message in messages:
        reasoning = message.get("reasoning_content", "").strip()
        if reasoning and not message.get("reasoning_inline", False):
            raise DataError(
                "the chat template has no place for the 'reasoning_content' of an answer; set model.chat_template to one "
                "that has, or leave the field out"
            )
        content = message["content"].strip()
        turns.append({"role": message["role"], "content": f"{reasoning}\n\n{content}" if reasoning else content})
    return turns
