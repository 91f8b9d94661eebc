"""Compares a free text with a reference: ROUGE-L and token F1."""

from collections import Counter

from medtune.evaluation.alignment import common_length
from medtune.evaluation.plain_text import words

__all__ = ["rouge_l", "token_f1"]

_ARTICLES = frozenset({"a", "an", "the"})


def rouge_l(text: str, reference: str) -> float:
    """Return the F measure of the longest common subsequence of words (ROUGE-L, Lin 2004), without stemming.

    Words are runs of letters and digits in lower case, as in the rouge-score package, but of any script; of scripts without
    spaces, such as Han, each character counts as one.

    >>> rouge_l("The pain is gone .", "the pain was gone")
    0.75
    """
    found, wanted = words(text), words(reference)
    if not found or not wanted:
        return 0.0
    return 2 * common_length(found, wanted) / (len(found) + len(wanted))


def token_f1(text: str, reference: str) -> float:
    """Return the F measure of shared words in any order, articles left out (as SQuAD does); 1.0 for two empty texts."""
    found, wanted = _content_words(text), _content_words(reference)
    if not found and not wanted:
        return 1.0
    return 2 * (found & wanted).total() / (found.total() + wanted.total())


def _content_words(text: str) -> Counter[str]:
    return Counter(word for word in words(text) if word not in _ARTICLES)
