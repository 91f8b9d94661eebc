"""Checks offsets against the text, and finds out in which unit they count where it is not characters."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from medtune.data.importers.documents import Document, Mention, Passage, Told

__all__ = ["CHARACTERS", "Placed", "place_document", "place_passage"]

CHARACTERS = "characters"
_Place = Callable[[int], int | None]
"""Turns an offset into one of Python's, None where it lies inside a character or outside the text."""


class Placed(NamedTuple):
    """A passage whose mentions lie where they say; ``refused`` is how many do not, and ``unit`` what offsets count."""

    passage: Passage
    refused: int
    unit: str


def place_document(document: Document, told: Told) -> Document | None:
    """Return the document with offsets in characters, None when a mention is not where its offsets say.

    Of such a document nothing can be learned: a row would say that the misplaced mention is none.
    """
    placed = [place_passage(passage) for passage in document.passages]
    refused = sum(p.refused for p in placed)
    if refused:
        told.leave_out("mentions whose text is not at their offsets", document.place, refused)
        others = sum(len(p.passage.mentions) for p in placed)
        told.leave_out("other mentions of documents with such a mention", document.place, others)
        told.leave_out("documents with such a mention", document.place)
        return None
    units = {p.unit for p in placed} - {CHARACTERS}
    for unit in sorted(units):
        told.note(f"documents whose offsets count {unit}", document.place)
    return replace(document, passages=tuple(p.passage for p in placed))


def place_passage(passage: Passage) -> Placed:
    """Return the passage with offsets in characters.

    They count what puts most mentions where they say, characters before all else. Mentions without a stated text say nothing
    but that they begin and end with words: another unit counts when more than half of them cut one, and none does in it.
    """
    if not passage.mentions:
        return Placed(passage, 0, CHARACTERS)
    (_, place), *others = _units(passage.text)
    best, cut = _tried(passage, CHARACTERS, place)
    if not best.refused and 2 * cut <= len(passage.mentions):
        return best
    for unit, other in others:
        found, cuts = _tried(passage, unit, other)
        if found.refused < best.refused or (
            found.refused == best.refused and 2 * cut > len(passage.mentions) and not cuts
        ):
            best, cut = found, cuts
    return best


def _tried(passage: Passage, unit: str, place: _Place) -> tuple[Placed, int]:
    """Return the passage placed in a unit, and how many mentions without a stated text begin or end inside a word there."""
    found = tuple(m for mention in passage.mentions if (m := _moved(mention, place, passage.text)) is not None)
    cut = sum(m.text is None and _cuts_a_word(m, passage.text) for m in found)
    return Placed(Passage(passage.text, found), len(passage.mentions) - len(found), unit), cut


def _units(text: str) -> Iterator[tuple[str, _Place]]:
    """Yield the units in which offsets into ``text`` can differ, characters first."""
    length = len(text)
    yield CHARACTERS, lambda offset: offset if 0 <= offset <= length else None
    if any(c > "\uffff" for c in text):
        yield "UTF-16 code units", _table([1 + (c > "\uffff") for c in text])
    if not text.isascii():
        yield "UTF-8 bytes", _table([len(c.encode("utf-8", "surrogatepass")) for c in text])
    if "\r\n" in text:
        pairs = zip(text, text[1:] + " ", strict=True)
        yield "a line end of two characters as one", _table([int((c, n) != ("\r", "\n")) for c, n in pairs])


def _table(widths: Sequence[int]) -> _Place:
    places: dict[int, int] = {0: 0}
    for index, end in enumerate(accumulate(widths), start=1):
        places.setdefault(end, index)
    return places.get


def _moved(mention: Mention, place: _Place, text: str) -> Mention | None:
    """Return the mention with fragments in characters and in order, None when it is not what it says."""
    fragments: list[tuple[int, int]] = []
    for start, end in sorted(mention.fragments):
        first, last = place(start), place(end)
        if first is None or last is None or first >= last:
            return None
        fragments.append((first, last))
    if not fragments or not "".join(text[a:b] for a, b in fragments).strip():
        return None
    moved = replace(mention, fragments=tuple(fragments))
    return moved if mention.text is None or _spells(moved, text) else None


def _spells(mention: Mention, text: str) -> bool:
    """Whether the text at the fragments is the mention's, white space aside; of several pieces also all from first to last."""
    wanted = "".join((mention.text or "").replace("...", " ").split())
    pieces = "".join("".join(text[a:b].split()) for a, b in mention.fragments)
    if pieces == wanted or pieces.replace("...", "") == wanted:
        return True
    first, last = mention.fragments[0][0], mention.fragments[-1][1]
    return len(mention.fragments) > 1 and "".join(text[first:last].split()) == wanted


def _cuts_a_word(mention: Mention, text: str) -> bool:
    first, last = mention.fragments[0][0], mention.fragments[-1][1]
    borders = (text[max(0, first - 1) : first + 1], text[last - 1 : last + 1])
    return any(len(pair) == 2 and (pair.isalpha() or pair.isdigit()) for pair in borders)  # noqa: PLR2004 - either side
