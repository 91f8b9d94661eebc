"""What a generator is asked and what it says: plain values, frozen."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AnswerForm", "AnswerRequest", "Completion", "Draft", "GenerationRequest", "TokenScores"]


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What an answer is expected to look like: fixed texts, and between each two of them one of some choices.

    Attributes:
        fixed: texts in order, at least one; the first begins the answer and the last ends it.
        choices: what may stand between two of them, the likeliest first.
    """

    fixed: Sequence[str]
    choices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """An ``AnswerForm`` as token ids; the last fixed ids end with the id that ends the answer.

    A generator may propose what follows from it and let the model verify several tokens in one pass. The answer stays
    the model's own: a draft only decides how fast it comes.
    """

    fixed: Sequence[Sequence[int]]
    choices: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt as token ids, the most tokens that its answer may take, and what the answer may look like, where that is known."""

    input_ids: Sequence[int]
    max_new_tokens: int
    draft: Draft | None = None


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
        drafted_tokens: how many tokens were drafted for it.
        accepted_tokens: how many of them were the model's own choice too.
    """

    token_ids: Sequence[int]
    text: str
    truncated: bool
    confidence: float | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0
