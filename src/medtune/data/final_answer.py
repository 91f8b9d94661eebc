"""What of a generated text is the answer: what follows a block of reasoning, or the final one of several channels."""

import re
from typing import NamedTuple

__all__ = ["FinalAnswer", "closing_of", "final_answer", "split_reasoning"]

_TAGS = "think|thinking|thought|thoughts|reasoning|reason|analysis|reflection|scratchpad"
_OPENING = re.compile(rf"\s*(<(?:\w+:)?(?:{_TAGS})>|\[(?:{_TAGS})\]|<\|begin_of_thought\|>)", re.IGNORECASE)
_CLOSING = re.compile(rf"</(?:\w+:)?(?:{_TAGS})>|\[/(?:{_TAGS})\]|<\|end_of_thought\|>", re.IGNORECASE)
_ANSWER = re.compile(r"\s*<(answer|solution)>(.*?)(?:</\1>\s*)?", re.IGNORECASE | re.DOTALL)

_CHANNEL = "<|channel|>"
_FINAL_CHANNEL = re.compile(r"<\|channel\|>\s*final\b[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_END_OF_MESSAGE = re.compile(r"<\|(?:return|end|call)\|>")
_BARE_CHANNEL = re.compile(r"\s*(?:assistant)?(?:analysis|commentary)(?=[^a-z\s.,:;])")
_BARE_FINAL = re.compile(r"\s*(?:assistant)?final(?=\S)")
_HAND_OVER = "assistantfinal"
_WORDS_WITH_FINAL = re.compile(r"\s*final(?:(?:ly|s|es?|ists?|ity|i[sz]\w*)(?![a-zA-Z])|[-,.;:!?)])")
"""English: ``finally``, ``final-stage``; no channel name before an answer."""


class FinalAnswer(NamedTuple):
    """The answer in a text; ``unfinished`` when the text ends before one begins."""

    text: str
    unfinished: bool = False


def final_answer(text: str, gold: str = "", *, opened: bool = False) -> FinalAnswer:
    """Return the answer without the reasoning before it.

    Reasoning stands in a block of tags such as ``<think>``, or in channels of their own, whose names may have lost the
    control tokens around them. A text without either is the answer as it is.

    Args:
        text: what a model wrote, without the token that ends it.
        gold: the right answer; one that begins with ``final`` itself keeps the word from being taken for a channel's name.
        opened: whether the prompt itself ends in the tag that opens a block.

    >>> final_answer("<think>It shrank.</think>yes").text
    'yes'
    >>> final_answer("<think>It shrank, but")
    FinalAnswer(text='', unfinished=True)
    """
    found = _of_channels(text, gold)
    return found if found is not None else _after_blocks(text, opened=opened)


def split_reasoning(text: str) -> tuple[str, str] | None:
    """Return the reasoning of a block that a text begins with, and what follows; None for a text that begins otherwise.

    >>> split_reasoning("<think>It shrank.</think>yes")
    ('It shrank.', 'yes')
    """
    opening = _OPENING.match(text) if text[:1] in "<[" else None
    if opening is None:
        return None
    reasoning, closing, answer = text[opening.end() :].partition(closing_of(opening[1]))
    return (reasoning.strip(), answer.strip()) if closing else None


def closing_of(opening: str) -> str:
    """Return the tag that closes a block: ``</think>`` of ``<think>``."""
    return f"{opening[0]}/{opening[1:]}" if opening != "<|begin_of_thought|>" else "<|end_of_thought|>"


def _after_blocks(text: str, *, opened: bool) -> FinalAnswer:
    rest, is_after = text, False
    while found := _OPENING.match(rest):
        end = re.search(re.escape(closing_of(found[1])), rest[found.end() :], re.IGNORECASE)
        if end is None:
            return FinalAnswer("", unfinished=True)
        rest, is_after = rest[found.end() + end.end() :], True
    if not is_after:
        closing = _CLOSING.search(rest)
        if closing is not None and not _opens_before(rest[: closing.start()]):
            rest, is_after = rest[closing.end() :], True
        elif opened and closing is None:
            return FinalAnswer("", unfinished=True)
    if not is_after:
        return FinalAnswer(text)
    wrapped = _ANSWER.fullmatch(rest)
    return FinalAnswer((wrapped[2] if wrapped else rest).strip())


def _opens_before(text: str) -> bool:
    """Whether a block opens somewhere in ``text``: then its end belongs to it, and the text begins with something else."""
    return any(_OPENING.match(text, start) for start, letter in enumerate(text) if letter in "<[")


def _of_channels(text: str, gold: str) -> FinalAnswer | None:
    """Return the final channel; None for a text without channels."""
    if _CHANNEL in text:
        finals = list(_FINAL_CHANNEL.finditer(text))
        if not finals:
            return FinalAnswer("", unfinished=True)
        return FinalAnswer(_END_OF_MESSAGE.split(text[finals[-1].end() :])[0].strip())
    if _BARE_CHANNEL.match(text) and not _begins_alike(text, gold):
        _before, hand_over, answer = text.rpartition(_HAND_OVER)
        return FinalAnswer(answer.strip(), unfinished=not hand_over) if hand_over else FinalAnswer("", unfinished=True)
    found = _BARE_FINAL.match(text)
    if found and not _WORDS_WITH_FINAL.match(text) and not _begins_alike(text, gold):
        return FinalAnswer(text[found.end() :].strip())
    return None


def _begins_alike(text: str, gold: str) -> bool:
    """Whether the right answer begins with the same word, which is none of a channel then."""
    word = re.match(r"\s*(analysis|commentary|final)", text)
    return word is not None and gold.lstrip().startswith(word[1])
