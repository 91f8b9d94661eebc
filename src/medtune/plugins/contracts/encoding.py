"""What a trainer of encoders is given and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from medtune.specs import EncoderSpec, ModelSpec

__all__ = ["EncoderJob", "EncoderKind", "EncoderResult", "EncoderRow", "EncoderTrainer"]


class EncoderKind(StrEnum):
    """What an encoder says of a row: a label for each word, one label, or any number of labels."""

    TAGS = "tags"
    LABEL = "label"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class EncoderRow:
    """A row as an encoder reads it.

    Attributes:
        text: the words of a row of tags; of any other row its text, as the only member.
        labels: numbers of labels, one for each word of a row of tags; empty where they are asked for.
    """

    text: Sequence[str]
    labels: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class EncoderJob:
    """Everything that a trainer of encoders needs.

    Attributes:
        model: the encoder, by repository or folder.
        spec: how it is fine-tuned.
        kind: what it says of a row.
        labels: names of the labels, in the order of their numbers.
        rows: with their labels; trained on.
        asked: without labels; answered when training is over.
        seed: of the head, the order of the rows and dropout.
        may_be_empty: whether an answer of kind ``labels`` may hold none; else the most probable one is given.
        keep: folder that the fine-tuned encoder is written to, None to keep nothing of it.
    """

    model: ModelSpec
    spec: EncoderSpec
    kind: EncoderKind
    labels: Sequence[str]
    rows: Sequence[EncoderRow]
    asked: Sequence[EncoderRow]
    seed: int = 0
    may_be_empty: bool = True
    keep: Path | None = None


@dataclass(frozen=True, slots=True)
class EncoderResult:
    """What a fine-tuned encoder answers.

    Attributes:
        labels: numbers of labels per asked row: one for each of its words, exactly one, or any number, by the kind.
        training_seconds: wall time of loading and training.
        answering_seconds: wall time of answering what was asked.
        facts: what was chosen and counted, as JSON values.
    """

    labels: Sequence[Sequence[int]]
    training_seconds: float
    answering_seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@runtime_checkable
class EncoderTrainer(Protocol):
    """Fine-tunes an encoder on labelled rows and lets it answer others."""

    name: str

    def fit_and_answer(self, job: EncoderJob) -> EncoderResult:
        """Train on ``job.rows`` and answer ``job.asked``; nothing stays on disk but what ``job.keep`` asks for."""
        ...
