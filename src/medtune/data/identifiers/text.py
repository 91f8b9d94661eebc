"""A text as the rules see it: its words with their places, and its language."""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from medtune.data.identifiers.vocabulary import not_names, words_of

__all__ = ["UPPER", "Text", "cue", "read_text"]

UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮİĴĶĹĻĽĿŁŃŅŇŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽȘȚ"
"""Capitals of the languages that Latin letters write, for a class of a pattern."""

_WORD = re.compile(r"[^\W\d_]+")
_TELLING = {language: words_of(f"telling {language}") for language in ("de", "en", "fr", "es")}
"""Language -> words that tell it."""
_READ = 400
"""Words by which the language is told."""
_FEW, _CAPITALS = 5, 0.03
"""Words that tell whether a text has capitals, and the share of them that begin with one in a text without."""
_TOKEN = re.compile(r"\w+")
_MOST_KNOWN = 100_000
_CUES: list[tuple[Collection[str], Callable[[str], bool] | None]] = []
_CUES_OF: dict[str, tuple[int, ...]] = {}
"""Word -> the cues that it is one of, of the words seen so far."""


def cue(words: Collection[str], more: Callable[[str], bool] | None = None) -> int:
    """Return a number by which ``Text.at`` tells where such words stand: texts are gone through once for all rules.

    Args:
        words: in small letters.
        more: tells of a word that is none of these whether it is meant too.
    """
    _CUES.append((words, more))
    _CUES_OF.clear()
    return len(_CUES) - 1


def _cues_of(word: str) -> tuple[int, ...]:
    if len(_CUES_OF) > _MOST_KNOWN:
        _CUES_OF.clear()
    found = tuple(n for n, (words, more) in enumerate(_CUES) if word in words or (more is not None and more(word)))
    _CUES_OF[word] = found
    return found


@dataclass(frozen=True, slots=True)
class Text:
    """A text and its words.

    Attributes:
        text: as it stands.
        words: runs of letters.
        folded: the same in small letters.
        starts: where each begins.
        ends: where each ends.
        language: "de", "en", "fr" or "es", as its first words tell.
        is_small: whether it was typed without capitals; then words that can be names are given one, in ``text`` too.
        places: cue -> numbers of its words.
    """

    text: str
    words: list[str]
    folded: list[str]
    starts: list[int]
    ends: list[int]
    language: str
    is_small: bool = False
    places: tuple[list[int], ...] = ()

    def at(self, number: int) -> list[int]:
        """Return the numbers of the words that are a cue's, in order."""
        return self.places[number]

    def between(self, i: int) -> str:
        """Return what stands between word ``i`` and the next."""
        return self.text[self.ends[i] : self.starts[i + 1]] if i + 1 < len(self.words) else self.text[self.ends[i] :]

    def before(self, i: int) -> str:
        """Return what stands between word ``i`` and the one before."""
        return self.text[self.ends[i - 1] if i else 0 : self.starts[i]]


def read_text(text: str) -> Text:
    """Return a text with its words."""
    found = list(_WORD.finditer(text))
    is_small = _is_small(found)
    if is_small:
        text = _with_capitals(text)
        found = list(_WORD.finditer(text))
    words = [m[0] for m in found]
    folded = [word.casefold() for word in words]
    counts = Counter(folded[:_READ])
    score = {language: sum(counts[w] for w in telling) for language, telling in _TELLING.items()}
    language = max(score, key=score.__getitem__) if any(score.values()) else "en"
    places: tuple[list[int], ...] = tuple([] for _ in _CUES)
    for i, word in enumerate(folded):
        numbers = _CUES_OF.get(word)
        for number in _cues_of(word) if numbers is None else numbers:
            places[number].append(i)
    starts, ends = [m.start() for m in found], [m.end() for m in found]
    return Text(text, words, folded, starts, ends, language, is_small, places)


def _is_small(words: list[re.Match[str]]) -> bool:
    first = words[:_READ]
    return len(first) >= _FEW and sum(m[0][0].isupper() for m in first) <= len(first) * _CAPITALS


def _with_capitals(text: str) -> str:
    """Return a text of the same length in which words that can be a name begin with a capital, and codes are in capitals."""
    return _TOKEN.sub(_capital, text)


def _capital(token: re.Match[str]) -> str:
    word = token[0]
    if any(map(str.isdecimal, word)):
        changed = word.upper()
    elif word.casefold() in not_names() or len(word) < 3:
        return word
    else:
        changed = word[0].upper() + word[1:]
    return changed if len(changed) == len(word) else word
