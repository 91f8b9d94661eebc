"""What a generator is asked and what it says: plain values, frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AnswerRequest", "Completion", "GenerationRequest", "TokenScores"]


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt as token ids, and the most tokens that its answer may take."""

    input_ids: Sequence[int]
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A prompt as token ids, and whole answers to it as token ids, each with the token that ends it."""

    input_ids: Sequence[int]
    answers: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class TokenScores:
    """How probable a token was in its place.

    Attributes:
        log_probability: of the token, in nats.
        top: ids and log-probabilities of the most probable tokens in its place, the best first.
    """

    log_probability: float
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer of a generator.

    Attributes:
        token_ids: its ids without the stop id.
        text: what they spell.
        truncated: whether the limit cut it off.
        confidence: how sure the model was, between 0 and 1, such as the probability of the whole answer; None where the
            generator does not say.
    """

    token_ids: Sequence[int]
    text: str
    truncated: bool
    confidence: float | None = None
