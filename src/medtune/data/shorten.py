"""Shortens the context of a row that is too long, where the answer does not copy it."""

import re
import unicodedata
from dataclasses import replace

from medtune.data.context import Stretch, context_of
from medtune.data.encode import Encoder
from medtune.data.samples import Sample
from medtune.plugins.contracts import Example, Message

__all__ = ["copies_input", "shortened"]

_WORD = re.compile(r"\w+")
_COPIED = 0.6  # share of the answer's words that also stand in the input, above which it is taken to copy it
_SHORT_ANSWER = 8  # words; a label or option may well be named in the input without copying it
_QUOTED = 8  # characters from which an answer that stands in the input word for word is taken from there
_LEAST = 12  # tokens of a stretch of context that stay: a question about nothing teaches nothing
_BACK = 40  # characters to go back for the beginning of a word; scripts without spaces have none so near
_STRETCHES = 8  # that may be cut in one row


def copies_input(example: Example) -> bool:
    """Whether the answer repeats its input, as token labels do; cutting the input would then falsify the answer."""
    answer = [word.lower() for word in _WORD.findall(example.messages[-1]["content"])]
    if len(answer) <= _SHORT_ANSWER:
        return False
    given = {word.lower() for m in example.messages[:-1] for word in _WORD.findall(m["content"])}
    return sum(word in given for word in answer) >= _COPIED * len(answer)


def shortened(example: Example, max_length: int, encoder: Encoder) -> Sample | None:
    """Cut the end of the longest stretch of context, at a token, so that the example has at most ``max_length`` tokens.

    What is asked, its options and the end of a turn are never cut (see ``context_of``), nor is a word.

    Returns:
        The shorter example, encoded; None when the answer copies the input, was quoted from what would be cut, or when
        what has to stay is too long by itself.
    """
    if copies_input(example):
        return None
    current = _encoded(example, encoder)
    for spare_edges in (True, False):
        for _ in range(_STRETCHES):
            stretches = context_of(current.example.messages, spare_edges=spare_edges)
            shorter = _cut(current, stretches[0], max_length, encoder) if stretches else current
            if len(shorter.ids) <= max_length:
                return None if _loses_quote(example, shorter.example) else shorter
            if shorter is current:
                break
            current = shorter
    return None


def _cut(sample: Sample, stretch: Stretch, max_length: int, encoder: Encoder) -> Sample:
    """Cut one stretch as far as needed, or else to its first ``_LEAST`` tokens."""
    text = sample.example.messages[stretch.turn]["content"][stretch.start : stretch.end]
    ends = [end for _start, end in encoder.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).offsets]
    keep = len(ends) - (len(sample.ids) - max_length)
    while len(ends) > _LEAST:
        keep = max(keep, _LEAST)
        shorter = _encoded(_without(sample.example, stretch, _border(text, ends[keep - 1])), encoder)
        excess = len(shorter.ids) - max_length
        if excess <= 0 or keep == _LEAST:
            return shorter
        keep -= excess
    return sample


def _without(example: Example, stretch: Stretch, kept: int) -> Example:
    """Return the example with the first ``kept`` characters of a stretch; the white space behind it stays."""
    messages: list[Message] = [*example.messages]
    role, content = messages[stretch.turn]["role"], messages[stretch.turn]["content"]
    text = content[stretch.start : stretch.end]
    behind = text[len(text.rstrip()) :]
    shorter = content[: stretch.start] + text[:kept].rstrip() + behind + content[stretch.end :]
    messages[stretch.turn] = {"role": role, "content": shorter}
    return replace(example, messages=messages)


def _border(text: str, place: int) -> int:
    """Return the nearest place at or before ``place`` that is inside no word and no composed character."""
    if place >= len(text):
        return len(text)
    if text[place - 1].isalnum() and text[place].isalnum():
        near = max(text.rfind(space, max(0, place - _BACK), place) for space in (" ", "\n"))
        if near >= 0:
            return near
    while place > 0 and unicodedata.combining(text[place]):
        place -= 1
    return place


def _loses_quote(whole: Example, shorter: Example) -> bool:
    """Whether the answer stood in the input word for word, and does no longer."""
    answer = whole.messages[-1]["content"].strip()
    given, left = ("\n".join(m["content"] for m in e.messages[:-1]) for e in (whole, shorter))
    return len(answer) >= _QUOTED and answer in given and answer not in left


def _encoded(example: Example, encoder: Encoder) -> Sample:
    ids, spans = next(encoder.encode_spans([example]))
    return Sample(example, ids, spans)
