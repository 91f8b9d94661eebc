"""Rows that hold turns already."""

import itertools
from collections.abc import Mapping
from typing import Any

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, text
from medtune.plugins.contracts import Example, Message

__all__ = ["Messages", "PromptCompletion"]

_ROLES = ("system", "user", "assistant")


class Messages:
    """``messages``: a list of ``{"role", "content"}`` as OpenAI's API takes them, the last one the assistant's."""

    name = "messages"
    columns = frozenset({"messages"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the turns; the last one is the answer."""
        return _conversation_of(_turns(row, "messages"), row)


class PromptCompletion:
    """``prompt`` and ``completion``, as text or as lists of messages."""

    name = "prompt_completion"
    columns = frozenset({"prompt", "completion"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return prompt and completion."""
        if isinstance(row.get("prompt"), list):
            return _conversation_of([*_turns(row, "prompt"), *_turns(row, "completion")], row)
        return conversation(text(row, "prompt"), text(row, "completion"), row)


def _conversation_of(turns: list[Message], row: Mapping[str, Any]) -> Example:
    """Check what most templates need: perhaps a system turn first, then the user, never twice in a row, the assistant last."""
    roles = [turn["role"] for turn in turns]
    if "system" in roles[1:]:
        raise MalformedRowError("a system turn is not the first")
    if "user" not in roles[:2] or roles[0] == "assistant":
        raise MalformedRowError("the conversation does not begin with the user")
    if ("user", "user") in itertools.pairwise(roles):
        raise MalformedRowError("two turns of the user stand in a row")
    if roles[-1] != "assistant":
        raise MalformedRowError("the last message is not the assistant's")
    return Example(turns, source=optional_text(row, "source"))


def _turns(row: Mapping[str, Any], column: str) -> list[Message]:
    """Check a list of messages: known roles and text contents."""
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise MalformedRowError(
            f"column '{column}' {'is missing' if column not in row else 'is not a list of messages'}"
        )
    turns: list[Message] = []
    for position, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            raise MalformedRowError(f"message {position} of column '{column}' has no role and content")
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise MalformedRowError(
                f"message {position} of column '{column}' has a role other than {', '.join(_ROLES)}"
            )
        if not isinstance(content, str) or not content.strip():
            raise MalformedRowError(f"message {position} of column '{column}' has no text")
        turn: Message = {"role": role, "content": content}
        if reasoning := _reasoning_of(message, f"message {position} of column '{column}'"):
            turn["reasoning_content"] = reasoning
        turns.append(turn)
    return turns


def _reasoning_of(message: Mapping[str, Any], where: str) -> str:
    """Return what an answer carries under ``reasoning_content`` or ``thinking``, empty for nothing."""
    found = {key: message[key] for key in ("reasoning_content", "thinking") if message.get(key)}
    if not found:
        return ""
    if message.get("role") != "assistant":
        raise MalformedRowError(f"{where} has '{next(iter(found))}', which only an answer can have")
    first, *others = found.values()
    if not isinstance(first, str) or any(other != first for other in others):
        raise MalformedRowError(f"{where} has a {' and a '.join(repr(key) for key in found)} that is not one text")
    return first
