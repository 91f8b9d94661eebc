"""Verbatim copies: what a generated answer has in common with the row's own, and did not read in the prompt.

After Carlini et al., "Extracting Training Data from Large Language Models" (2021) and "Quantifying Memorization Across Neural
Language Models" (2023), who count 50 tokens reproduced word for word.
"""

from collections.abc import Sequence

import numpy as np

from medtune.evaluation.tally import Array

__all__ = ["LONG_ANSWER", "LONG_SPAN", "copied_tokens", "is_copied"]

LONG_SPAN = 50
"""Tokens in a row that count as a copy."""
LONG_ANSWER = 20
"""Tokens of an answer from which it counts as a copy when it is reproduced whole; shorter ones are labels, which are learnt."""


def copied_tokens(answer: Sequence[int], generated: Sequence[int], prompt: Sequence[int]) -> int:
    """Return the length of the longest run of tokens that two answers share, less its longest part that the prompt holds.

    >>> copied_tokens([1, 2, 3, 4, 5, 6], [9, 1, 2, 3, 4, 5], [7, 2, 3, 8])
    3
    """
    start, length = _longest_common(answer, generated)
    span = answer[start : start + length]
    return length - _longest_common(span, prompt)[1]


def is_copied(answer: Sequence[int], generated: Sequence[int], prompt: Sequence[int]) -> bool:
    """Whether a generated answer copies the row's: 50 tokens of it, or the whole of it where it has 20 or more."""
    copied = copied_tokens(answer, generated, prompt)
    whole = list(generated[: len(answer)]) == list(answer)
    return copied >= LONG_SPAN or (whole and copied >= LONG_ANSWER)


def _longest_common(one: Sequence[int], other: Sequence[int]) -> tuple[int, int]:
    """Return where in ``one`` the longest run begins that also stands in ``other``, and its length."""
    if not (len(one) and len(other)):
        return 0, 0
    ids: Array = np.asarray(other)
    before = np.zeros(len(ids) + 1, dtype=np.intp)
    start = best = 0
    for place, token in enumerate(one):
        now = np.zeros_like(before)
        now[1:] = np.where(ids == token, before[:-1] + 1, 0)
        longest = int(now.max())
        if longest > best:
            start, best = place - longest + 1, longest
        before = now
    return start, best
