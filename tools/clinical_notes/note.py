"""A note and the identifiers in it."""

from dataclasses import dataclass

KINDS = (
    "name",
    "place",
    "date",
    "age_over_89",
    "phone",
    "fax",
    "email",
    "ssn",
    "record_number",
    "health_plan_number",
    "account_number",
    "licence_number",
    "vehicle",
    "device",
    "url",
    "ip_address",
    "biometric",
    "photo",
    "other_number",
)
"""Safe Harbor's 18 kinds, and ages over 89, which it lists with the dates."""


@dataclass(frozen=True)
class Identifier:
    """What `text[start:end]` of a note is.

    Attributes:
        kind: One of `KINDS`.
        start: First character.
        end: One past the last character.
        detail: Whose name it is, or which number; may be empty.
    """

    kind: str
    start: int
    end: int
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """One text with all its identifiers in order; they do not overlap.

    Attributes:
        text: The note.
        identifiers: Every span that Safe Harbor counts.
        habit: How it was typed: a name of `habits.HABITS`.
    """

    text: str
    identifiers: tuple[Identifier, ...]
    habit: str = "plain"


@dataclass(frozen=True)
class Piece:
    """A stretch of a note that is one identifier, or none when `kind` is empty."""

    text: str
    kind: str = ""
    detail: str = ""


def joined(pieces: list[Piece], habit: str) -> Note:
    """Return the pieces as one note.

    Args:
        pieces: The note from left to right.
        habit: How it was typed.

    Returns:
        The text, and a span for each piece that has a kind.
    """
    start, spans = 0, list[Identifier]()
    for piece in pieces:
        if piece.kind:
            spans.append(Identifier(piece.kind, start, start + len(piece.text), piece.detail))
        start += len(piece.text)
    return Note("".join(piece.text for piece in pieces), tuple(spans), habit)
