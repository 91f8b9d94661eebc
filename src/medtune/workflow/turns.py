"""Threads that ask one model take turns."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["one_at_a_time"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def one_at_a_time(method: _Method) -> _Method:
    """Let a method wait until no other thread is inside any such method of the same object.

    The object has ``turn``, a lock that its holder may take again.
    """

    @wraps(method)
    def in_turn(self: Any, *given: Any, **options: Any) -> Any:
        with self.turn:
            return method(self, *given, **options)

    return cast("_Method", in_turn)
