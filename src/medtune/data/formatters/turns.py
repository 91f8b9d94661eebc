"""Rows that hold turns already."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from medtune.data.formatters.columns import MalformedRowError, conversation, optional_text, source_of, text
from medtune.plugins.contracts import Example, Message

__all__ = ["Messages", "PromptCompletion"]

_ROLES = ("system", "user", "assistant")
_OTHER_ROLES = {"developer": "system"}
_SPEAKERS = {
    **dict.fromkeys(("human", "patient", "client", "person"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "doctor", "physician", "clinician", "therapist"), "assistant"),
}
"""What ShareGPT's ``from`` or a ``speaker`` of a consultation is called, where it is not the role's own name."""
_WHO, _WHAT = ("role", "from", "speaker"), ("content", "value", "utterance", "text")
"""Fields that say who speaks, and what; the first that is there counts."""
_TOOL_ROLES = frozenset({"tool", "function", "ipython", "observation", "function_call"})
_TOOL_FIELDS = ("tool_calls", "function_call", "tool_call_id")
_PART_TYPES = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video", "file", "refusal"})


def _paths_in(column: str) -> list[str]:
    """Return the paths below a column of turns that are read, contents aside."""
    return [f"{column}[].{field}" for field in (*_WHO, "weight", "content[].type")]


class Messages:
    """A list of turns, the last one the assistant's: ``{"role", "content"}`` as OpenAI's API takes them, or ShareGPT's.

    Args:
        name: name of the formatter.
        column: the column of the turns.
    """

    further_text = "system"

    def __init__(self, name: str, column: str) -> None:
        self.name, self._column = name, column
        self.columns = frozenset({column})
        self.optional_columns = frozenset({"system", *_paths_in(column)})

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return the turns; the last one is the answer."""
        return _conversation_of(_turns(row, self._column), row)


class PromptCompletion:
    """``prompt`` and ``completion``, as text or as lists of messages."""

    name = "prompt_completion"
    columns = frozenset({"prompt", "completion"})
    optional_columns = frozenset({"system", *_paths_in("prompt"), *_paths_in("completion")})
    label_columns = ("completion",)
    further_text = "system"

    def format(self, row: Mapping[str, Any]) -> Example:
        """Return prompt and completion."""
        if isinstance(row.get("prompt"), list):
            return _conversation_of([*_turns(row, "prompt"), *_turns(row, "completion")], row)
        return conversation(text(row, "prompt"), text(row, "completion"), row)


def _conversation_of(turns: list[Message], row: Mapping[str, Any]) -> Example:
    """Check what most templates need: perhaps a system turn first, then the user, never twice in a row, the assistant last."""
    if row.get("tools") not in (None, "", "null", [], {}):
        raise _tool_turns("column 'tools'")
    system = optional_text(row, "system")
    if system.strip() and (not turns or turns[0]["role"] != "system" or turns[0]["content"].strip() != system.strip()):
        turns = [{"role": "system", "content": system}, *turns]
    roles = [turn["role"] for turn in turns]
    if "system" in roles[1:]:
        raise MalformedRowError("a system turn is not the first")
    if "user" not in roles[:2] or roles[0] == "assistant":
        raise MalformedRowError("the conversation does not begin with the user")
    if ("user", "user") in itertools.pairwise(roles):
        raise MalformedRowError("two turns of the user stand in a row")
    if roles[-1] != "assistant":
        raise MalformedRowError("the last message is not the assistant's")
    return Example(turns, source=source_of(row))


def _turns(row: Mapping[str, Any], column: str) -> list[Message]:
    """Check a list of messages: known roles and text contents; a system turn without text is left out."""
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise MalformedRowError(
            f"column '{column}' {'is missing' if column not in row else 'is not a list of messages'}"
        )
    turns: list[Message] = []
    for position, message in enumerate(cast("Sequence[Any]", value), start=1):
        place = f"message {position} of column '{column}'"
        if not isinstance(message, Mapping):
            raise MalformedRowError(f"{place} has no role and content")
        turn = _turn(cast("Mapping[str, Any]", message), place)
        if turn is not None:
            turns.append(turn)
    return turns


def _turn(message: Mapping[str, Any], place: str) -> Message | None:
    """Return one message as a turn; None for a system turn without text."""
    speaker = next((message[field] for field in _WHO if field in message), "")
    speaker = speaker.strip().lower() if isinstance(speaker, str) and "role" not in message else speaker
    speaker = speaker if isinstance(speaker, str) else ""
    role = _OTHER_ROLES.get(speaker, speaker) if "role" in message else _SPEAKERS.get(speaker, speaker)
    used = next((field for field in _TOOL_FIELDS if message.get(field)), None)
    if role in _TOOL_ROLES or used:
        raise _tool_turns(f"field '{used}'" if used else "role 'tool'")
    if role not in _ROLES:
        raise MalformedRowError(f"{place} has a role other than {', '.join(_ROLES)}")
    content = _content(next((message[field] for field in _WHAT if field in message), None), place)
    if not content.strip():
        if role == "system":
            return None
        raise MalformedRowError(f"{place} has no text")
    turn: Message = {"role": role, "content": content}
    if reasoning := _reasoning_of(message, role, place):
        turn["reasoning_content"] = reasoning
    weight = message.get("weight")
    if weight is not None and not (isinstance(weight, int | float) and weight in (0, 1)):
        raise MalformedRowError(f"{place} has a weight other than 0 and 1")
    if weight == 0 and role == "assistant":
        turn["weight"] = 0
    return turn


def _reasoning_of(message: Mapping[str, Any], role: str, where: str) -> str:
    """Return what an answer carries under ``reasoning_content`` or ``thinking``, empty for nothing."""
    found = {key: message[key] for key in ("reasoning_content", "thinking") if message.get(key)}
    if not found:
        return ""
    if role != "assistant":
        raise MalformedRowError(f"{where} has '{next(iter(found))}', which only an answer can have")
    first, *others = found.values()
    if not isinstance(first, str) or any(other != first for other in others):
        raise MalformedRowError(f"{where} has a {' and a '.join(repr(key) for key in found)} that is not one text")
    return first


def _content(value: Any, place: str) -> str:
    """Return the text of a content, which may be a list of parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    texts: list[str] = []
    for part in cast("Sequence[Any]", value):
        held = cast("Mapping[str, Any]", part) if isinstance(part, Mapping) else {"type": "text", "text": part}
        kind, found = held.get("type", "text"), held.get("text")
        if kind != "text" or not isinstance(found, str):
            named = f"of type '{kind}'" if isinstance(kind, str) and kind in _PART_TYPES else "that is no text"
            raise MalformedRowError(f"{place} has a part {named}")
        texts.append(found)
    return "\n".join(texts)


def _tool_turns(where: str) -> MalformedRowError:
    return MalformedRowError(f"the conversation has tool turns ({where}), which are not supported")
