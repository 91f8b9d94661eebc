"""What a request asks for, read from OpenAI's JSON: everything is used, known to change nothing, or refused by name."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from medtune.serving.refusals import Refusal

__all__ = ["Asked", "parse_json", "read_chat", "read_completion"]

_MOST_STOPS, _MOST_TOP, _MOST_PROMPTS, _MOST_TURNS = 16, 20, 256, 1024
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,40}")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_GREEDY = "answers are greedy, as they were scored; leave it out or set it to {}"
_ABSENT = "it is not supported and would change the answer; leave it out"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        model: name of a served model.
        prompts: of a completion: texts, or token ids.
        messages: of a chat completion: its turns.
        max_tokens: longest answer, None where nobody said.
        stop: texts before which an answer ends.
        is_stream: whether the answer is sent as it grows.
        with_usage: whether a stream ends with the token counts.
        top: how many of the most probable tokens are told in each place, None for no log-probabilities.
        with_prompt: whether a completion begins with its prompt.
    """

    model: str
    prompts: Sequence[str | Sequence[int]] = ()
    messages: Sequence[Mapping[str, str]] = ()
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    is_stream: bool = False
    with_usage: bool = False
    top: int | None = None
    with_prompt: bool = False


def _is_number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _is_count(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


_FIXED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda v: _is_number(v, 0, 0), _GREEDY.format(0)),
    "top_p": (lambda v: _is_number(v, 1e-9, 1), "it must lie between 0 and 1; greedy answers do not depend on it"),
    "n": (lambda v: _is_count(v, 1, 1), _GREEDY.format(1)),
    "best_of": (lambda v: _is_count(v, 1, 1), _GREEDY.format(1)),
    "presence_penalty": (lambda v: _is_number(v, 0, 0), _GREEDY.format(0)),
    "frequency_penalty": (lambda v: _is_number(v, 0, 0), _GREEDY.format(0)),
    "logit_bias": (lambda v: v == {}, _ABSENT),
    "response_format": (lambda v: v == {"type": "text"}, "only text is supported; leave it out"),
    "tools": (lambda v: v == [], _ABSENT),
    "functions": (lambda v: v == [], _ABSENT),
    "tool_choice": (lambda v: v == "none", _ABSENT),
    "suffix": (lambda v: v == "", _ABSENT),
    "modalities": (lambda v: v == ["text"], "only text is supported; leave it out"),
    "store": (lambda v: v is False, "nothing is stored here; leave it out or set it to false"),
    "seed": (lambda v: type(v) is int, "it must be a whole number; greedy answers do not depend on it"),
    "user": (lambda v: isinstance(v, str), "it must be text; it is not kept"),
    "metadata": (lambda v: isinstance(v, dict), "it must be an object; it is not kept"),
}
"""Fields that are understood and change nothing: what they may be, and what is said of any other value."""
_SHARED = {"model", "max_tokens", "stop", "stream", "stream_options", "logprobs"}
_OF_CHAT = {"messages", "max_completion_tokens", "top_logprobs"}
_OF_COMPLETION = {"prompt", "echo"}


def parse_json(body: bytes) -> Mapping[str, Any]:
    """Return the object in a body.

    Raises:
        Refusal: it is none, in words that repeat none of it.
    """
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise Refusal(400, "the body is not UTF-8", code="invalid_json") from None
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Refusal(400, "the body is no JSON object", code="invalid_json")
    return {key: value for key, value in found.items() if value is not None}


def read_chat(values: Mapping[str, Any]) -> Asked:
    """Read a chat completion; raises Refusal, naming the field that is at fault."""
    _check_names(values, _SHARED | _OF_CHAT)
    if "max_tokens" in values and "max_completion_tokens" in values:
        raise _wrong("max_completion_tokens", "max_tokens says the same; give one of them")
    wants = values.get("logprobs", False)
    if type(wants) is not bool:
        raise _wrong("logprobs", "it must be true or false")
    top = values.get("top_logprobs", 0)
    if not _is_count(top, 0, _MOST_TOP) or (top and not wants):
        raise _wrong("top_logprobs", f"it must be a whole number up to {_MOST_TOP}, with logprobs set to true")
    turns = values.get("messages")
    if not isinstance(turns, list) or not 0 < len(turns) <= _MOST_TURNS:
        raise _wrong("messages", f"it must be a list of 1 to {_MOST_TURNS} turns")
    messages = [_turn(turn, f"messages[{place}]") for place, turn in enumerate(turns)]
    if messages[-1]["role"] != "user":
        raise _wrong("messages", "the last turn must be the user's")
    limit = "max_completion_tokens" if "max_completion_tokens" in values else "max_tokens"
    return Asked(messages=messages, top=top if wants else None, **_shared(values, limit, fewest=1))


def read_completion(values: Mapping[str, Any]) -> Asked:
    """Read a completion; raises Refusal, naming the field that is at fault."""
    _check_names(values, _SHARED | _OF_COMPLETION)
    top = values.get("logprobs")
    if top is not None and not _is_count(top, 0, _MOST_TOP):
        raise _wrong("logprobs", f"it must be a whole number from 0 to {_MOST_TOP}")
    echo = values.get("echo", False)
    if type(echo) is not bool:
        raise _wrong("echo", "it must be true or false")
    shared = _shared(values, "max_tokens", fewest=0 if echo else 1)
    if echo and shared["is_stream"]:
        raise _wrong("echo", "a stream does not begin with its prompt; leave one of them out")
    given = values.get("prompt")
    prompts: list[Any] = []
    if isinstance(given, str) or _are_ids(given):
        prompts = [given]
    elif isinstance(given, list) and 0 < len(given) <= _MOST_PROMPTS:
        prompts = given
    else:
        raise _wrong("prompt", "it must be text, token ids, or a list of these")
    if not all(_are_ids(each) or (isinstance(each, str) and each) for each in prompts):
        raise _wrong("prompt", "each prompt must be a text or a list of token ids, and not empty")
    for each in prompts:
        if isinstance(each, str):
            _require_text(each, "prompt")
    return Asked(prompts=prompts, top=top, with_prompt=echo, **shared)


def _shared(values: Mapping[str, Any], limit: str, fewest: int) -> dict[str, Any]:
    """Return what both kinds have in common."""
    model, most = values.get("model"), values.get(limit)
    if not isinstance(model, str):
        raise _wrong("model", "it must be the name of a served model; GET /v1/models lists them")
    if most is not None and not _is_count(most, fewest, 1 << 20):
        raise _wrong(limit, f"it must be a whole number of at least {fewest}")
    stop = values.get("stop", [])
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or len(stop) > _MOST_STOPS or not all(isinstance(s, str) and s for s in stop):
        raise _wrong("stop", f"it must be a text, or a list of up to {_MOST_STOPS} texts, none of them empty")
    stream = values.get("stream", False)
    if type(stream) is not bool:
        raise _wrong("stream", "it must be true or false")
    options = values.get("stream_options", {})
    usage = options.get("include_usage", False) if isinstance(options, dict) else None
    if type(usage) is not bool or set(options) - {"include_usage"} or (options and not stream):
        raise _wrong("stream_options", 'it may only be {"include_usage": true}, and only with stream')
    return {"model": model, "max_tokens": most, "stop": tuple(stop), "is_stream": stream, "with_usage": usage}


def _check_names(values: Mapping[str, Any], used: set[str]) -> None:
    for name, value in values.items():
        if name in used:
            continue
        if name in _FIXED:
            fits, otherwise = _FIXED[name]
            if not fits(value):
                raise _wrong(name, otherwise)
            continue
        if not _NAME.fullmatch(name):
            raise Refusal(400, "the body has a field of no known name", code="unknown_field")
        near = get_close_matches(name, [*used, *_FIXED], 1)
        raise _wrong(name, f"no such field{f'; did you mean {near[0]}' if near else ''}", code="unknown_field")


def _turn(turn: Any, where: str) -> dict[str, str]:
    if not isinstance(turn, dict):
        raise _wrong(where, "it must be an object with role and content")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", f"it must be one of {', '.join(_ROLES)}")
    if any(turn[key] not in (None, []) for key in turn.keys() - {"role", "content"}):
        raise _wrong(where, "it may hold role and content only")
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) and p.get("type") == "text" else None for p in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts) or not parts:
            raise _wrong(f"{where}.content", "each part must be text")
        content = "\n".join(texts)
    if not isinstance(content, str):
        raise _wrong(f"{where}.content", "it must be text")
    _require_text(content, f"{where}.content")
    return {"role": _ROLES[role], "content": content}


def _require_text(text: str, where: str) -> None:
    """Refuse half surrogates, which JSON can spell and no text holds."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _wrong(where, "it holds half of a surrogate pair, which is no text") from None


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_count(each, 0, 1 << 31) for each in value)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _no_constant(_name: str) -> Any:
    raise ValueError


def _wrong(field: str, why: str, code: str = "invalid_value") -> Refusal:
    return Refusal(400, f"'{field}' cannot be used: {why}", param=field, code=code)
