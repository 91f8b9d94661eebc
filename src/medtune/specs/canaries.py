"""Made-up secrets among the training rows, as a user asks for them."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from medtune.specs.values import Spec, split_commas

__all__ = ["CanarySpec"]

Repeats = Annotated[int, Field(ge=1, le=1000)]


class CanarySpec(Spec):
    """Made-up secrets that are planted among the training rows, so that ``medtune audit`` can say what is remembered."""

    count: Annotated[int, Field(ge=0, le=1000)] = 0
    """Canaries for each number in ``repeats``; 0 plants none."""
    repeats: Annotated[tuple[Repeats, ...], BeforeValidator(split_commas), Field(min_length=1)] = (1, 4, 16)
    """How often a canary stands among the training rows of an epoch: ``count`` canaries for each number here."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """Seed of names and secrets; None takes the run's."""

    @field_validator("repeats")
    @classmethod
    def _each_once(cls, repeats: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(repeats)) < len(repeats):
            raise ValueError("it names a number twice; each stands for a group of canaries of its own")
        return repeats
