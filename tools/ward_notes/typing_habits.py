"""What scanners, word processors and old programs make of a note, laid over its pieces so that spans stay exact."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from clinical_notes.note import Piece

_CONFUSED = {"0": "O", "O": "0", "1": "l", "l": "1", "5": "S", "S": "5", "m": "rn", "B": "8", "e": "c"}
_NOISE, _WIDE, _BROKEN = 0.008, 0.3, 0.08
_WIDE_SPACES = {" ": "\u00a0", "-": "\u2011"}

Habit = Callable[[Piece, Random], Piece]


def _plain(piece: Piece, draw: Random) -> Piece:
    del draw
    return piece


def _scanned(piece: Piece, draw: Random) -> Piece:
    """Read some letters as others that look like them, in identifiers too."""
    return replace(piece, text="".join(_CONFUSED.get(s, s) if draw.random() < _NOISE else s for s in piece.text))


def _capitals(piece: Piece, draw: Random) -> Piece:
    """Write all in capitals but what a machine made."""
    del draw
    return piece if piece.kind in {"email", "url", "photo"} else replace(piece, text=piece.text.upper())


def _processed(piece: Piece, draw: Random) -> Piece:
    """Put in the spaces and hyphens that do not break."""
    return replace(piece, text="".join(_WIDE_SPACES.get(s, s) if draw.random() < _WIDE else s for s in piece.text))


def _narrow(piece: Piece, draw: Random) -> Piece:
    """Break lines in places where a word ends."""
    return replace(piece, text="".join("\n" if s == " " and draw.random() < _BROKEN else s for s in piece.text))


HABITS: Mapping[str, tuple[Habit, int]] = {
    "plain": (_plain, 72),
    "scanned": (_scanned, 8),
    "capitals": (_capitals, 6),
    "word processor": (_processed, 7),
    "narrow lines": (_narrow, 7),
}
"""Each habit, and how many of a hundred notes have it."""


def retype(pieces: list[Piece], draw: Random) -> tuple[list[Piece], str]:
    """Return the pieces as they come, and the habit's name."""
    name = draw.choices(list(HABITS), [weight for _, weight in HABITS.values()])[0]
    return [HABITS[name][0](piece, draw) for piece in pieces], name
