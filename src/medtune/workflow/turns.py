"""Threads that ask one model take turns."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, TypeVar, cast

__all__ = ["LOADING", "one_at_a_time"]

LOADING = RLock()
"""Held while a model is loaded: transformers patches torch for that, which two threads of a process cannot do at once."""

Method = TypeVar("Method", bound=Callable[..., Any])


def one_at_a_time(method: Method) -> Method:
    """Let a method wait until no other thread is inside any such method of the same object, whose ``turn`` is a lock."""

    @wraps(method)
    def in_turn(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.turn:
            return method(self, *args, **kwargs)

    return cast("Method", in_turn)
