"""OpenAI's answer objects."""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medtune.workflow.answering import Answering

__all__ = ["END_OF_STREAM", "Reply", "Scored", "event", "usage_of"]

END_OF_STREAM = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Scored:
    """Tokens with their scores as a generator gave them; None where a token has nothing before it."""

    ids: Sequence[int]
    scores: Sequence[Any]


def event(value: Any) -> bytes:
    """Return a server-sent event."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def usage_of(prompt: int, answer: int) -> dict[str, int]:
    """Return OpenAI's token counts."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


@dataclass(frozen=True, slots=True)
class Reply:
    """What all objects of one reply share."""

    model: str
    is_chat: bool
    created: int = field(default_factory=lambda: int(time.time()))
    key: str = field(default_factory=lambda: secrets.token_hex(12))

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """Return a whole answer."""
        return self._head("chat.completion" if self.is_chat else "text_completion") | {
            "choices": list(choices),
            "usage": usage,
        }

    def choice(self, index: int, text: str, finish: str, logprobs: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return one choice of a whole answer."""
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}

    def part(self, index: int, text: str | None, finish: str | None = None) -> dict[str, Any]:
        """Return a piece of a stream; a text of None is its beginning."""
        if not self.is_chat:
            said: dict[str, Any] = {"text": text or ""}
        elif text is None:
            said = {"delta": {"role": "assistant", "content": ""}}
        else:
            said = {"delta": {"content": text} if text else {}}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk" if self.is_chat else "text_completion") | {"choices": [choice]}

    def counts(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the last piece of a stream that tells token counts."""
        return self._head("chat.completion.chunk" if self.is_chat else "text_completion") | {
            "choices": [],
            "usage": usage,
        }

    def logprobs(self, answering: Answering, scored: Scored) -> dict[str, Any]:
        """Return log-probabilities in the form of a chat completion or of a completion."""
        tokens = answering.token_texts(scored.ids)
        tops = [
            []
            if each is None
            else list(zip(answering.token_texts([i for i, _ in each.top]), (v for _, v in each.top), strict=True))
            for each in scored.scores
        ]
        values = [None if each is None else each.log_probability for each in scored.scores]
        if self.is_chat:
            rows = zip(tokens, values, tops, strict=True)
            return {
                "content": [
                    _token(token, value) | {"top_logprobs": [_token(*each) for each in top]}
                    for token, value, top in rows
                ]
            }
        offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
        likeliest = [None if value is None else dict(reversed(top)) for value, top in zip(values, tops, strict=True)]
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": likeliest, "text_offset": offsets}

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.is_chat else "cmpl"
        return {"id": f"{prefix}-{self.key}", "object": kind, "created": self.created, "model": self.model}


def _token(text: str, value: float | None) -> dict[str, Any]:
    """Return a token with its bytes, None where it is a part of a letter."""
    known = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": value, "bytes": known}
