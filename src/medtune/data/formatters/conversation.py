"""Rows that hold turns already."""

from collections.abc import Mapping
from typing import Any

from medtune.data.formatters.columns import conversation, optional_text, text
from medtune.plugins.contracts import Example, Message

__all__ = ["Messages", "PromptCompletion"]

_ROLES = ("system", "user", "assistant")


class Messages:
    """``messages``: a list of ``{"role", "content"}`` as OpenAI's API takes them, the last one the assistant's."""

    name = "messages"
    columns = frozenset({"messages"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the turns; the last one is the answer."""
        turns = _turns(row.get("messages"), "messages")
        if turns[-1]["role"] != "assistant":
            raise ValueError("the last message is not the assistant's")
        return Example(turns, source=optional_text(row, "source"))


class PromptCompletion:
    """``prompt`` and ``completion``, as text or as lists of messages."""

    name = "prompt_completion"
    columns = frozenset({"prompt", "completion"})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return prompt and completion."""
        if isinstance(row.get("prompt"), list):
            turns = [*_turns(row["prompt"], "prompt"), *_turns(row.get("completion"), "completion")]
            if turns[-1]["role"] != "assistant":
                raise ValueError("the last message is not the assistant's")
            return Example(turns, source=optional_text(row, "source"))
        return conversation(text(row, "prompt"), text(row, "completion"), row)


def _turns(value: Any, column: str) -> list[Message]:
    """Check a list of messages: known roles, text contents, a system turn first only."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"column '{column}' is not a list of messages")
    turns: list[Message] = []
    for position, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise ValueError(  # noqa: TRY004 - formatters raise one kind
                f"message {position + 1} of column '{column}' has no role and content"
            )
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise ValueError(f"message {position + 1} of column '{column}' has a role other than {', '.join(_ROLES)}")
        if not isinstance(content, str) or not content.strip():
            raise ValueError(f"message {position + 1} of column '{column}' has no text")
        if role == "system" and position > 0:
            raise ValueError(f"message {position + 1} of column '{column}' is a system turn that is not the first")
        turns.append({"role": role, "content": content})
    return turns
