"""Accounts for the text of all sources of a set of rows."""

from typing import Any

from medtune.data.encodings import encoding_advice
from medtune.data.identifiers.counts import IdentifierCounts
from medtune.data.member_account import MemberAccount
from medtune.data.shaping import Shaper
from medtune.data.sources.reading import SourceNotes
from medtune.specs import SourceSpec

__all__ = ["Account"]


class Account:
    """The accounts of all sources of a set of rows.

    Args:
        name: what the rows are called in errors: "" for training rows, "validation " for those to score on.
        refuses: whether text that nothing reads is an error, or only counted.
    """

    def __init__(self, name: str = "", *, refuses: bool = True) -> None:
        self.name, self._refuses = name, refuses
        self.members: list[MemberAccount] = []
        self.identifiers = IdentifierCounts()
        self._read: list[tuple[SourceSpec, SourceNotes]] = []

    def open(self, member: SourceSpec, shaper: Shaper, notes: SourceNotes) -> "MemberAccount":
        """Begin the account of one source."""
        self.members.append(MemberAccount(self.name, member, shaper, notes))
        self._read.append((member, notes))
        self.members[-1].refuses = self._refuses
        return self.members[-1]

    def check_numbers(self) -> None:
        """Raise DataError when options are counted from 1 where the formatter counts from 0."""
        for member in self.members:
            member.check_numbers()

    def ways(self) -> str:
        """Return how rows that could not be used become readable, empty where it is not known."""
        return next((way for member in self.members if (way := member.ways())), "")

    def encodings(self) -> str:
        """Return how rows that are not UTF-8 become readable."""
        advice = [encoding_advice(member, notes.not_utf8) for member, notes in self._read if notes.not_utf8.total()]
        return advice[0] if advice else ""

    def check(self) -> None:
        """Raise DataError when a source's text is unread, or its numbers mean something else than its formatter takes."""
        for member in self.members:
            member.check()

    def to_json(self) -> list[dict[str, Any]]:
        """Return the account of each source."""
        return [member.to_json() for member in self.members]
