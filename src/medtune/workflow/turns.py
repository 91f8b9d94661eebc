"""Threads that ask one model take turns."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, TypeVar, cast

from medtune.machine.forked import refuse_forked

__all__ = ["LOADING", "one_at_a_time"]

LOADING = RLock()
"""Held while a model is loaded: transformers patches torch for that, which two threads of a process cannot do at once."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def one_at_a_time(method: _Method) -> _Method:
    """Let a method wait until no other thread is inside any such method of the same object.

    The object has ``turn``, a lock that its holder may take again.
    """

    @wraps(method)
    def in_turn(self: Any, *given: Any, **options: Any) -> Any:
        refuse_forked()  # before the lock: whoever held it may not be here either
        with self.turn:
            return method(self, *given, **options)

    return cast("_Method", in_turn)
