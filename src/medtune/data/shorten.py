"""Shortens the input of a row that is too long, where the answer does not copy the input."""

import re
from dataclasses import replace

from medtune.data.encode import Encoder
from medtune.data.samples import Sample
from medtune.plugins.contracts import Example, Message

__all__ = ["copies_input", "shortened"]

_WORD = re.compile(r"\w+")
_COPIED = 0.6  # share of the answer's words that also stand in the input, above which it is taken to copy it
_SHORT_ANSWER = 8  # words; a label or option may well be named in the input without copying it


def copies_input(example: Example) -> bool:
    """Whether the answer repeats its input, as token labels do; cutting the input would then falsify the answer."""
    answer = [word.lower() for word in _WORD.findall(example.messages[-1]["content"])]
    if len(answer) <= _SHORT_ANSWER:
        return False
    given = {word.lower() for m in example.messages[:-1] for word in _WORD.findall(m["content"])}
    return sum(word in given for word in answer) >= _COPIED * len(answer)


def shortened(example: Example, max_length: int, encoder: Encoder) -> Sample | None:
    """Cut the end of the last user turn, at a word, so that the whole example has at most ``max_length`` tokens.

    Returns:
        The shorter example, encoded; None when the answer copies the input or does not fit even with half a sentence.
    """
    if copies_input(example):
        return None
    position = max(i for i, m in enumerate(example.messages) if m["role"] == "user")
    words = example.messages[position]["content"].split(" ")
    low, high = 8, len(words)  # keep a few words at least: an instruction without any input teaches nothing
    best: Sample | None = None
    while low < high:
        middle = (low + high) // 2
        message: Message = {"role": "user", "content": " ".join(words[:middle])}
        turns = [*example.messages[:position], message, *example.messages[position + 1 :]]
        candidate = replace(example, messages=turns)
        ids, spans = next(encoder.encode_spans([candidate]))
        if len(ids) <= max_length:
            best, low = Sample(candidate, ids, spans), middle + 1
        else:
            high = middle
    return best
