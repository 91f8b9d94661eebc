"""Small values that say what heads are normed by and how far attention sees."""

from dataclasses import dataclass

from medtune.accel.model.heads import Norm

__all__ = ["HeadNorms", "Window"]


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Norms of each query head and of each key head, before they are rotated."""

    query: Norm
    key: Norm


@dataclass(frozen=True, slots=True)
class Window:
    """Scale of the scores, and how many tokens back a token sees, itself included; None for all."""

    scale: float
    tokens: int | None
