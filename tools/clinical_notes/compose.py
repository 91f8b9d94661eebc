"""Puts notes together from an opening, a body and a closing."""

from collections.abc import Iterator
from random import Random

from clinical_notes.habits import retype
from clinical_notes.language import Language, load_language
from clinical_notes.note import Note, joined
from clinical_notes.scene import Scene

_OPENING_SHARE, _CLOSING_SHARE, _TABLE_SHARE = 0.8, 0.7, 0.4
_BETWEEN = (" ", " ", " ", "\n", "\n- ", "\n\n")


def notes(language: str, seed: int, count: int) -> Iterator[Note]:
    """Yield notes with identifiers.

    Args:
        language: One of `LANGUAGES`.
        seed: Note i of a seed is the same whatever `count` is.
        count: How many.

    Yields:
        Notes, each with at least one identifier.

    Raises:
        ValueError: There is no such language.
    """
    words = load_language(language)
    for index in range(count):
        draw = Random(f"{language} {seed} {index}")
        yield _note(words, draw, ("", "sentence"), draw.randint(3, 7))


def clean_notes(language: str, seed: int, count: int) -> Iterator[Note]:
    """Yield notes without any identifier, full of what looks like one.

    Args:
        language: One of `LANGUAGES`.
        seed: Note i of a seed is the same whatever `count` is.
        count: How many.

    Yields:
        Notes whose `identifiers` are empty.

    Raises:
        ValueError: There is no such language.
    """
    words = load_language(language)
    for index in range(count):
        yield _note(words, Random(f"{language} {seed} {index} clean"), ("clean_", "clean"), 3)


def _note(language: Language, draw: Random, frames: tuple[str, str], count: int) -> Note:
    """Compose a note of the frames with a prefix, `count` of its sentences among clean ones."""
    (prefix, sentence), scene, sections = frames, Scene(language, draw), language.sections
    body = draw.sample(sections[sentence].lines, count)
    body += draw.sample([line for line in sections["clean"].lines if line not in body], draw.randint(3, 7))
    draw.shuffle(body)
    blocks = [
        "".join(line + gap for line, gap in zip(body, [*draw.choices(_BETWEEN, k=len(body) - 1), ""], strict=True))
    ]
    if draw.random() < _OPENING_SHARE:
        blocks.insert(0, draw.choice(sections[prefix + "opening"].lines))
    if draw.random() < _TABLE_SHARE:
        blocks.append(draw.choice(sections["table"].lines))
    if draw.random() < _CLOSING_SHARE:
        blocks.append(draw.choice(sections[prefix + "closing"].lines))
    return joined(*retype(scene.fill("\n\n".join(blocks)), draw))
