"""Puts notes together from lines of one genre."""

from collections.abc import Iterator
from random import Random

from clinical_notes.note import Note, Piece, joined
from ward_notes.filling import Filling
from ward_notes.typing_habits import retype
from ward_notes.words import Words, load_words

_MOST, _FEWEST = 9, 3
_GAPS = {"line": ("\n",), "dictation": ("\n", " "), "form": ("\n", "\n\n")}
_GAPS_ELSEWHERE = ("\n", "\n\n", " ")


def notes(language: str, half: str, seed: int, count: int) -> Iterator[tuple[str, Note]]:
    """Yield genres and notes with identifiers, two lines in ten of them clean.

    Args:
        language: One of `LANGUAGES`.
        half: One of `HALVES`.
        seed: Note i of a seed is the same whatever `count` is.
        count: How many.

    Raises:
        ValueError: There is no such language or half.
    """
    words = load_words(language, half)
    genres = [genre for genre in words.lines if genre != "clean"]
    for index in range(count):
        draw = Random(f"{language} {half} {seed} {index}")
        (genre,) = draw.choices(genres, [len(words.lines[genre]) for genre in genres])
        lines = words.lines[genre]
        chosen = draw.sample(lines, min(len(lines), draw.randint(_FEWEST, _MOST)))
        if genre not in {"line", "dictation"}:
            chosen += draw.sample(words.lines["clean"], draw.randint(0, 2))
            draw.shuffle(chosen)
        yield genre, _note(words, draw, chosen, genre)


def clean_notes(language: str, half: str, seed: int, count: int) -> Iterator[Note]:
    """Yield notes without an identifier; arguments and errors as for `notes`."""
    words = load_words(language, half)
    for index in range(count):
        draw = Random(f"{language} {half} {seed} {index} clean")
        lines = words.lines["clean"]
        yield _note(words, draw, draw.sample(lines, draw.randint(4, min(10, len(lines)))), "clean")


def _note(words: Words, draw: Random, lines: list[str], genre: str) -> Note:
    filling = Filling(words, draw)
    gap = draw.choice(_GAPS.get(genre, _GAPS_ELSEWHERE))
    pieces = list[Piece]()
    for line in lines:
        pieces += [*filling.fill(line), Piece(gap if line[-1] in ".,;:?!" or gap != " " else "\n")]
    return joined(*retype(pieces[:-1], draw))
