"""What a user can choose when a file is imported."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Discontinuous", "ImportOptions", "Marks", "Overlapping", "Task", "Tokens"]


class Task(StrEnum):
    """What rows ask: a label per token, the relation of two mentions, or a question."""

    NER = "ner"
    RELATION = "relation"
    QA = "qa"


class Tokens(StrEnum):
    """How texts are cut into tokens: letters and digits apart from punctuation, at white space only, or as they look."""

    AUTO = "auto"
    WORDS = "words"
    SPACES = "spaces"


class Overlapping(StrEnum):
    """Which of overlapping mentions is labelled; among equally long ones the first."""

    LONGEST = "longest"
    SHORTEST = "shortest"


class Discontinuous(StrEnum):
    """What becomes of a mention in pieces: labelled from its first to its last character, or left out."""

    COVER = "cover"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Marks:
    """How mentions become labels.

    Attributes:
        tokens: as decided, never "auto".
        by_lines: whether a line is a sentence, whatever marks stand in it.
        overlapping: which of overlapping mentions is labelled.
        discontinuous: what becomes of mentions in pieces.
    """

    tokens: Tokens = Tokens.WORDS
    by_lines: bool = False
    overlapping: Overlapping = Overlapping.LONGEST
    discontinuous: Discontinuous = Discontinuous.COVER


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is imported.

    Attributes:
        format: name of the format, None to recognise it.
        task: what the rows ask, None for the first that the format holds.
        source: source given to the rows, None for the file's name.
        tokens: how texts are cut into tokens; "auto" cuts at white space only where punctuation stands alone already.
        overlapping: which of overlapping mentions is labelled.
        discontinuous: what becomes of mentions in pieces.
        first_option: number of MedMCQA's first option, None to see it from the numbers that occur.
    """

    format: str | None = None
    task: Task | None = None
    source: str | None = None
    tokens: Tokens = Tokens.AUTO
    overlapping: Overlapping = Overlapping.LONGEST
    discontinuous: Discontinuous = Discontinuous.COVER
    first_option: int | None = None
