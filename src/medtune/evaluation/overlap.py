"""Compares a free text with a reference: ROUGE-L and token F1."""

import re
from collections import Counter

from medtune.evaluation.alignment import common_length

__all__ = ["rouge_l", "token_f1"]

_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset({"a", "an", "the"})


def rouge_l(text: str, reference: str) -> float:
    """Return the F measure of the longest common subsequence of words (ROUGE-L, Lin 2004), without stemming.

    Words are runs of letters and digits in lower case, as in the rouge-score package, but of any script.

    >>> rouge_l("The pain is gone .", "the pain was gone")
    0.75
    """
    words, wanted = _words(text), _words(reference)
    if not words or not wanted:
        return 0.0
    return 2 * common_length(words, wanted) / (len(words) + len(wanted))


def token_f1(text: str, reference: str) -> float:
    """Return the F measure of shared words in any order, articles left out (as SQuAD does); 1.0 for two empty texts."""
    words, wanted = _content_words(text), _content_words(reference)
    if not words and not wanted:
        return 1.0
    return 2 * (words & wanted).total() / (words.total() + wanted.total())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _content_words(text: str) -> Counter[str]:
    return Counter(word for word in _words(text) if word not in _ARTICLES)
