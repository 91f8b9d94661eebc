"""Which tokens of an encoded row carry loss: from the end of each answer's prompt through its end-of-turn token."""

from collections.abc import Sequence
from typing import Any

from medtune.data.forms import Form, join
from medtune.data.plaintext import PlainTextTokenizer
from medtune.plugins.contracts import Message

__all__ = ["PromptChangesError", "Span", "anchored_spans", "mask_of", "offset_spans"]

Span = tuple[int, int]
"""First token of an answer, and the one after its last."""


class PromptChangesError(Exception):
    """Tokenised in one piece, a row's prompt has other ids than those that generation is given."""


def anchored_spans(form: Form, ids: Any, controls: Any) -> list[Span]:
    """Return the answers of a row whose prompts hold control tokens.

    Only the template can write those, so their numbers in the row are its places, and after each the tokenizer starts
    afresh: what follows is the prompt's end where it has the ids that it has alone.

    Args:
        form: of the row; every answer has ``tail_ids``.
        ids: int32 [tokens].
        controls: places of the control tokens in ``ids``, those of ``form.control_ids``.

    Raises:
        PromptChangesError: a token reaches over the end of a prompt.
    """
    spans: list[Span] = []
    for answer in form.answers:
        tail = answer.tail_ids or ()
        start = int(controls[answer.begins_after]) + 1
        first, last = start + len(tail), int(controls[answer.ends_with])
        if tuple(ids[start:first].tolist()) != tail or last <= first:
            raise PromptChangesError
        spans.append((first, last + 1))
    return spans


def offset_spans(form: Form, turns: Sequence[Message], encoding: Any, plain: PlainTextTokenizer) -> list[Span]:
    """Return the answers of a row from the characters where prompts and turns end, for any template; slower.

    Args:
        form: of the row.
        turns: its contents.
        encoding: of its text, with offsets.
        plain: the tokenizer that made it.

    Raises:
        PromptChangesError: as ``anchored_spans``.
    """
    ids = plain.real_ids(encoding)
    spans: list[Span] = []
    for answer in form.answers:
        before = sum(map(len, form.literals[: answer.turn])) + sum(len(m["content"]) for m in turns[: answer.turn])
        content = before + len(form.literals[answer.turn])
        end = content + len(turns[answer.turn]["content"]) + answer.end_offset
        first, last = _tokens_between(encoding, before + len(answer.opening), content, end)
        if last <= first or ids[last] != answer.end_id:
            raise PromptChangesError
        text = join((*form.literals[: answer.turn], answer.opening), turns[: answer.turn])
        given = plain.ids([text])[0]
        if len(given) != first or (ids[:first] != given).any():
            raise PromptChangesError
        spans.append((first, last + 1))
    return spans


def mask_of(length: int, spans: Sequence[Span]) -> Any:
    """Return 0/1 per token, uint8 [length]."""
    import numpy as np

    mask = np.zeros(length, dtype=np.uint8)
    for first, end in spans:
        mask[first:end] = 1
    return mask


def _tokens_between(encoding: Any, prompt_end: int, content: int, end: int) -> tuple[int, int]:
    """Return the first token after the prompt and the one at ``end``, all in characters."""
    first, last = encoding.char_to_token(content), encoding.char_to_token(end)
    if first is None or last is None:  # the normaliser dropped the character: look at every offset
        first = next(i for i, (_start, stop) in enumerate(encoding.offsets) if stop > prompt_end)
        last = next(i for i, (start, _stop) in enumerate(encoding.offsets) if start >= end)
    while first > 0 and encoding.token_to_chars(first - 1)[1] > prompt_end:
        first -= 1
    return first, last
