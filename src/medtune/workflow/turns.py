"""Threads that ask one model take turns."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

__all__ = ["HasTurn", "one_at_a_time"]

P = ParamSpec("P")
Result = TypeVar("Result")


class HasTurn(Protocol):
    """What is used by one thread at a time."""

    turn: Any
    """A lock that its holder may take again."""


Owner = TypeVar("Owner", bound=HasTurn)


def one_at_a_time(method: Callable[Concatenate[Owner, P], Result]) -> Callable[Concatenate[Owner, P], Result]:
    """Let a method wait until no other thread is inside any such method of the same object."""

    @wraps(method)
    def in_turn(self: Owner, *args: P.args, **kwargs: P.kwargs) -> Result:
        with self.turn:
            return method(self, *args, **kwargs)

    return in_turn
