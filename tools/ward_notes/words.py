"""Lines and words of a language, cut in two halves."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from zlib import crc32

LANGUAGES = ("en", "de", "fr", "es")
HALVES = ("dev", "held")
_WHOLE = ("date", "daymonth", "monthyear", "months", "shortmonths", "weekdays", "decimal", "zip", "phone")
"""Sections that both halves have, in their order."""


@dataclass(frozen=True)
class Words:
    """What notes of one half of a language are made of.

    Attributes:
        language: One of `LANGUAGES`.
        lines: Lines by genre; `clean` holds no identifier.
        lists: Names, towns, streets, formats of dates and others.
    """

    language: str
    lines: Mapping[str, tuple[str, ...]]
    lists: Mapping[str, tuple[str, ...]]


@cache
def load_words(language: str, half: str) -> Words:
    """Return a half of a language.

    Raises:
        ValueError: There is no such language or half.
    """
    if language not in LANGUAGES or half not in HALVES:
        raise ValueError(
            f"no notes in {language!r}, {half!r}; there are {', '.join(LANGUAGES)} with {' and '.join(HALVES)}"
        )
    part = HALVES.index(half)
    lists = {
        key: words if key in _WHOLE else _half(words, part)
        for key, words in _read("words", language, _words_of_line).items()
    }
    world = _read("words", "world", _words_of_line)
    lists |= {f"world {key}": _half(words, part) for key, words in world.items()}
    lines = _read("lines", language, lambda line: [line.replace("\\n", "\n").replace("\\t", "\t")])
    return Words(language, {key: _half(of, part) for key, of in lines.items()}, lists)


def _half(items: tuple[str, ...], part: int) -> tuple[str, ...]:
    """Every second item in an order that has nothing to do with how they were written."""
    return tuple(sorted(items, key=lambda item: (crc32(item.encode()), item))[part::2])


def _words_of_line(line: str) -> list[str]:
    if "|" in line or "%" in line or "#" in line:
        return line.split("|")
    return re.split(r"\s+", line)


def _read(folder: str, name: str, parts: Callable[[str], list[str]]) -> dict[str, tuple[str, ...]]:
    text = files("ward_notes").joinpath(folder, f"{name}.txt").read_text("utf-8")
    sections = dict[str, tuple[str, ...]]()
    for block in re.split(r"^== ", text, flags=re.MULTILINE)[1:]:
        head, *lines = block.splitlines()
        sections[head] = tuple(dict.fromkeys(item for line in lines if line for item in parts(line)))
    return sections
