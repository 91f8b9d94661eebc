"""Typing habits, laid over the pieces of a note so that its spans stay exact."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from clinical_notes.note import Piece

_WORDY = ("", "name", "place", "date", "age_over_89", "email", "url")
_SLIP_SHARE, _WIDEST, _NARROWEST = 0.06, 78, 34

Habit = Callable[[list[Piece], Random], list[Piece]]
"""Retypes the pieces of a note."""


def _plain(pieces: list[Piece], draw: Random) -> list[Piece]:
    del draw
    return pieces


def _lower(pieces: list[Piece], draw: Random) -> list[Piece]:
    """Type all words small; numbers with letters are copied as they are."""
    del draw
    return [replace(piece, text=piece.text.lower()) if piece.kind in _WORDY else piece for piece in pieces]


def _unpunctuated(pieces: list[Piece], draw: Random) -> list[Piece]:
    """Leave out commas and full stops after words."""
    del draw
    bare = re.compile(r"(?<=[^\W\d]{3})[.,;](?=\s)")
    return [piece if piece.kind else replace(piece, text=bare.sub("", piece.text)) for piece in pieces]


def _wrapped(pieces: list[Piece], draw: Random) -> list[Piece]:
    """Break lines at a width as old e-mail programs do, inside identifiers too."""
    width, column, wrapped = draw.randint(_NARROWEST, _WIDEST), 0, list[Piece]()
    for piece in pieces:
        signs = list[str]()
        for sign in piece.text:
            broken = "\n" if sign == " " and column >= width else sign
            column = 0 if broken == "\n" else column + 1
            signs.append(broken)
        wrapped.append(replace(piece, text="".join(signs)))
    return wrapped


def _slips(pieces: list[Piece], draw: Random) -> list[Piece]:
    """Swap two letters in some words around the identifiers."""

    def slip(found: re.Match[str]) -> str:
        word = found[0]
        if draw.random() >= _SLIP_SHARE:
            return word
        at = draw.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    words = re.compile(r"(?<!\w)[^\W\d_]{5,}(?!\w)")
    return [piece if piece.kind else replace(piece, text=words.sub(slip, piece.text)) for piece in pieces]


HABITS: Mapping[str, tuple[Habit, int]] = {
    "plain": (_plain, 12),
    "lower case": (_lower, 2),
    "no punctuation": (_unpunctuated, 2),
    "hard line breaks": (_wrapped, 2),
    "slips": (_slips, 2),
}
"""Each habit and how many of twenty notes have it."""


def retype(pieces: list[Piece], draw: Random) -> tuple[list[Piece], str]:
    """Return the pieces as somebody typed them.

    Args:
        pieces: The note as the frames give it.
        draw: The note's source of chance.

    Returns:
        The pieces, and the habit's name.
    """
    name = draw.choices(list(HABITS), [weight for _, weight in HABITS.values()])[0]
    return HABITS[name][0](pieces, draw), name
