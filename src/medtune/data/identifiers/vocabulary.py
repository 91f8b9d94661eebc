"""The word lists: which words are names, places, or neither; in small letters, with and without accents."""

import unicodedata
from functools import cache
from importlib.resources import files

__all__ = [
    "Names",
    "clear_names",
    "given_names",
    "known_names",
    "not_names",
    "place_words",
    "plain",
    "surnames",
    "words_of",
]

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
Names = tuple[frozenset[str], frozenset[str]]
"""Names that are nothing else, and all names, those among them that are a word as well."""


@cache
def given_names() -> Names:
    """Return given names."""
    return _names("given_names.txt")


@cache
def surnames() -> Names:
    """Return surnames."""
    return _names("surnames.txt")


@cache
def known_names() -> frozenset[str]:
    """Return all names."""
    return given_names()[1] | surnames()[1]


@cache
def clear_names() -> frozenset[str]:
    """Return names that are nothing else."""
    return given_names()[0] | surnames()[0]


@cache
def not_names() -> frozenset[str]:
    """Return words that begin with a capital in forms and letters and are no names."""
    return frozenset(word for line in _lines("not_names.txt") for word in line.split())


@cache
def words_of(topic: str) -> frozenset[str]:
    """Return the words of a topic that tell of an identifier beside them."""
    return _topics()[topic]


@cache
def _topics() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    topic = ""
    for line in _lines("cues.txt"):
        if line.startswith("["):
            topic = line.strip("[]")
        else:
            found.setdefault(topic, set()).update(line.split())
    return {topic: frozenset(words) for topic, words in found.items()}


@cache
def place_words() -> tuple[dict[str, tuple[tuple[str, ...], ...]], dict[str, tuple[tuple[str, ...], ...]]]:
    """Return first word -> places that begin with it, as words: those that are nothing else, and all."""
    clear: dict[str, set[tuple[str, ...]]] = {}
    every: dict[str, set[tuple[str, ...]]] = {}
    for line in _lines("places.txt"):
        for place in line.split(","):
            name = place.strip()
            for form in _forms(name.rstrip("*").casefold()):
                words = tuple(form.replace("-", " ").replace("'", " ").replace(".", " ").split())
                if not words:
                    continue
                every.setdefault(words[0], set()).add(words)
                if not name.endswith("*"):
                    clear.setdefault(words[0], set()).add(words)
    return _longest_first(clear), _longest_first(every)


def plain(word: str) -> str:
    """Return a word in small letters without accents.

    >>> plain("Ángel")
    'angel'
    """
    folded = word.casefold()
    if folded.isascii():
        return folded
    return "".join(c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))


def _names(file: str) -> Names:
    clear: set[str] = set()
    every: set[str] = set()
    for line in _lines(file):
        for word in line.split():
            forms = _forms(word.rstrip("*"))
            every |= forms
            if not word.endswith("*"):
                clear |= forms
    starred = {f for line in _lines(file) for w in line.split() if w.endswith("*") for f in _forms(w.rstrip("*"))}
    return frozenset(clear - starred), frozenset(every)


def _forms(word: str) -> set[str]:
    return {word, plain(word), word.translate(_UMLAUTS)}


def _lines(file: str) -> list[str]:
    text = files("medtune.data.identifiers").joinpath("words", file).read_text("utf-8")
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def _longest_first(found: dict[str, set[tuple[str, ...]]]) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {first: tuple(sorted(names, key=len, reverse=True)) for first, names in found.items()}
