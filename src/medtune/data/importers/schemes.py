"""Tags of any scheme read as IOB2: which scheme it is, is seen over the whole file."""

import re
from collections.abc import Sequence
from itertools import pairwise

from medtune.data.importers.documents import Told

__all__ = ["Scheme", "split_tag", "tag_of"]

_ENDS, _ALONE = frozenset("EL"), frozenset("SU")


class Scheme:
    """The tagging scheme of a file.

    IO has no prefix, a type or O alone: neighbours of one type are one mention. IOB1 begins a mention with I and uses B only between two mentions of a type; IOB2 begins each with B. BIOES (also
    called BILOU, BMES) marks the last token (E, L) and a single one (S, U) as well.
    """

    def __init__(self) -> None:
        self._prefixes = set[str]()
        self._begun_by_b = self._begun_by_i = 0
        self._bare = False

    def look_at(self, tags: Sequence[str], *, bare: bool = False) -> None:
        """Note the tags of a sentence; ``bare`` where the file has them without their prefix."""
        self._bare = self._bare or bare
        parts = [split_tag(tag) for tag in tags]
        self._prefixes |= {prefix for prefix, _type in parts}
        for (before, kind), (prefix, own) in pairwise([("O", ""), *parts]):
            begins = before == "O" or kind != own
            self._begun_by_b += begins and prefix == "B"
            self._begun_by_i += begins and prefix == "I"

    @property
    def name(self) -> str:
        """The scheme's name."""
        if self._bare:
            return "IO"
        if self._prefixes & (_ENDS | _ALONE | {"M"}):
            return "BIOES"
        if self._begun_by_i and not self._begun_by_b:
            return "IOB1"
        return "IOB2"

    def to_iob2(self, tags: Sequence[str], told: Told, place: str) -> list[str]:
        """Return the tags in IOB2; a mention that begins with I where the scheme says B is counted and taken as begun."""
        found: list[str] = []
        before, kind = "O", ""
        for prefix, own in map(split_tag, tags):
            goes_on = before in "BIM" and kind == own
            if prefix == "O":
                found.append("O")
            elif prefix in "IMEL" and goes_on:
                found.append(tag_of("I", own))
            else:
                found.append(tag_of("B", own))
                if prefix not in "BSU" and self.name not in ("IO", "IOB1"):
                    told.note("mentions that go on where none began, taken as begun there", place)
            before, kind = prefix, own
        return found


def tag_of(prefix: str, kind: str) -> str:
    """Return the tag of a prefix and a type, in which blanks become underscores; an empty type gives a bare prefix."""
    return f"{prefix}-{'_'.join(kind.split())}" if kind.strip() else prefix


def split_tag(tag: str) -> tuple[str, str]:
    """Return prefix (one capital) and type of a tag; the prefix may stand at either end.

    >>> split_tag("B-Disease"), split_tag("disease_I"), split_tag("O")
    (('B', 'Disease'), ('I', 'disease'), ('O', ''))
    """
    if found := re.fullmatch(r"([BIESLUMO])(?:[-_](.*))?", tag):
        return found[1], found[2] or ""
    if found := re.fullmatch(r"(.+)[-_]([BIESLUM])", tag):
        return found[2], found[1]
    return "O" if tag in ("_", "-") else "?", ""
