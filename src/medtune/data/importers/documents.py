"""What the readers of annotation formats yield: annotated texts, labelled tokens, or questions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Document", "Mention", "Passage", "Question", "Record", "Relation", "Sentence", "Told"]


@dataclass(frozen=True, slots=True)
class Mention:
    """One marked entity.

    Attributes:
        id: as the file calls it, empty where it does not.
        type: what it is marked as.
        fragments: start and end (exclusive) of its pieces in the text of its passage, in the file's own unit until
            ``offsets.placed`` has turned them into code points.
        text: what the file says it spells, None where the file does not say.
        concepts: identifiers in a vocabulary, by which some formats name the ends of a relation.
    """

    id: str
    type: str
    fragments: tuple[tuple[int, int], ...]
    text: str | None = None
    concepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of text with its mentions."""

    text: str
    mentions: tuple[Mention, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation; ``first`` and ``second`` are ids of mentions, or concepts where ``by`` says so."""

    type: str
    first: str
    second: str
    by: Literal["mention", "concept"] = "mention"


@dataclass(frozen=True, slots=True)
class Document:
    """An annotated text.

    Attributes:
        id: as the file calls it.
        place: file and line or number, for messages.
        passages: its text in order.
        relations: between mentions of any passage.
    """

    id: str
    place: str
    passages: tuple[Passage, ...]
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens with a tag each, as a file of columns has them; ``document`` is empty where the file names none.

    ``bare`` says that the file gives types without a prefix, which is then I.
    """

    document: str
    place: str
    tokens: Sequence[str]
    tags: Sequence[str]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question as a row of one of medtune's own formatters.

    Attributes:
        document: what it is about, empty where the file does not say.
        place: file and number, for messages.
        formatter: name of the formatter that reads ``row``.
        row: column -> value.
    """

    document: str
    place: str
    formatter: str
    row: Mapping[str, Any]


Record = Document | Sentence | Question


@dataclass
class Told:
    """What a reader has to tell besides its records.

    Attributes:
        left_out: reason -> how often something was not taken over.
        noted: what was taken over otherwise than it stands in the file -> how often.
        places: reason -> place of the first time.
        encoding: as which the file was read.
    """

    left_out: Counter[str] = field(default_factory=Counter[str])
    noted: Counter[str] = field(default_factory=Counter[str])
    places: dict[str, str] = field(default_factory=dict[str, str])
    encoding: str = ""

    def leave_out(self, reason: str, place: str, times: int = 1) -> None:
        """Count what was not taken over."""
        self._count(self.left_out, reason, place, times)

    def note(self, what: str, place: str, times: int = 1) -> None:
        """Count what was taken over otherwise than it stands there."""
        self._count(self.noted, what, place, times)

    def _count(self, counter: Counter[str], reason: str, place: str, times: int) -> None:
        if times:
            counter[reason] += times
            self.places.setdefault(reason, place)
