"""Wraps a plugin's thing so that every method goes through its boundary and its check."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from medtune.plugins.guards.answers import (
    checked_generate,
    checked_generate_from,
    checked_log_probabilities,
    checked_token_scores,
)
from medtune.plugins.guards.boundary import Boundary, Call
from medtune.plugins.guards.encoders import checked_fit_and_answer
from medtune.plugins.guards.examples import checked_draft, checked_parse
from medtune.plugins.guards.exporting import checked_export, checked_publish
from medtune.plugins.guards.formatting import checked_format
from medtune.plugins.guards.loading import checked_attach, checked_load, checked_stored_as
from medtune.plugins.guards.reading import checked_rows
from medtune.plugins.guards.scores import checked_matches, checked_max_new_tokens, checked_score, checked_tally
from medtune.plugins.guards.training import checked_fit, checked_held_out_losses, checked_prove
from medtune.plugins.origin import Origin

__all__ = ["guarded", "unguarded"]

Check = Callable[[Call], Callable[..., Any]]
"""A method of a thing -> the same, which checks what it is given back."""

_CHECKS: Mapping[str, Mapping[str, Check]] = {
    "formatter": {"format": checked_format},
    "task": {
        "draft": checked_draft,
        "matches": checked_matches,
        "max_new_tokens": checked_max_new_tokens,
        "parse": checked_parse,
        "score": checked_score,
        "tally": checked_tally,
    },
    "quantizer": {
        "load": checked_load,
        "load_random": checked_load,
        "load_sharded": checked_load,
        "stored_as": checked_stored_as,
    },
    "adapter": {"attach": checked_attach},
    "trainer": {"fit": checked_fit, "prove": checked_prove, "held_out_losses": checked_held_out_losses},
    "generator": {
        "generate": checked_generate,
        "generate_from": checked_generate_from,
        "log_probabilities": checked_log_probabilities,
        "token_scores": checked_token_scores,
    },
    "encoder": {"fit_and_answer": checked_fit_and_answer},
    "reader": {"rows": checked_rows},
    "exporter": {"export": checked_export, "publish": checked_publish},
}
"""Kind -> methods whose results are checked; all others are guarded only."""
_CALLED = frozenset({"check", "describe", "generate_constrained"})
"""Methods of any kind that are called without a check of what they return."""
_LASTING = frozenset({"fit", "fit_and_answer", "generate_from", "rows"})
"""Methods in which others may change the process meanwhile, since they last; ``rows`` is kept row by row."""
_OF_MANY_ROWS = frozenset({"score", "tally"})
"""Methods that are called once for many rows, so that the states of random generators are kept as well."""
_ROWS_MAY_FAIL = {"formatter": frozenset({"format"})}
"""Kind -> methods that raise for a bad row, which is then set aside."""


def guarded(thing: Any, kind: str, origin: Origin) -> Any:
    """Return a thing whose methods are guarded; ``__wrapped__`` is the thing itself.

    It has the methods and attributes that the thing has and no others, so ``hasattr`` and ``isinstance`` of the optional
    protocols answer as for the thing.
    """
    home = thing if isinstance(thing, type) else type(thing)
    module = thing.__name__ if isinstance(thing, ModuleType) else home.__module__
    boundary = Boundary(
        origin, f"{kind} '{thing.name}'", (module.partition(".")[0],), _ROWS_MAY_FAIL.get(kind, frozenset())
    )
    checks = _CHECKS.get(kind, {})
    body = {name: _method(_call_of(boundary, name, thing), checks.get(name)) for name in _methods_of(thing)}
    kept = {"__module__": module, "__qualname__": home.__qualname__, "__doc__": thing.__doc__}
    return type(home.__name__, (_Guarded,), body | kept)(thing, kind, boundary)


def unguarded(thing: Any) -> Any:
    """Return the thing itself, whether it is guarded or not."""
    return thing.__dict__["__wrapped__"] if isinstance(thing, _Guarded) else thing


def _methods_of(thing: Any) -> list[str]:
    """Return the names of a thing's methods; its properties are not asked."""
    found = {name: inspect.getattr_static(thing, name, None) for name in dir(thing) if not name.startswith("_")}
    return [
        name
        for name, member in found.items()
        if isinstance(member, classmethod | functools.partialmethod)
        or (callable(member) and not isinstance(member, type))
    ]


class _Guarded:
    """A thing of a plugin behind its boundary."""

    name: str

    def __init__(self, thing: Any, kind: str, boundary: Boundary) -> None:
        self.__dict__.update(name=thing.name, __wrapped__=thing, _kind=kind, _boundary=boundary)

    def __getattr__(self, name: str) -> Any:
        """Return what is no method of its class."""
        if name.startswith("__"):
            raise AttributeError(name)
        boundary: Boundary = self.__dict__["_boundary"]
        value = boundary.run(name, _attribute, self.__dict__["__wrapped__"], name)()
        is_method = callable(value) and not isinstance(value, type)
        return functools.partial(boundary.run, name, value) if is_method else value

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.__dict__["__wrapped__"]), "__wrapped__"})

    def __repr__(self) -> str:
        boundary: Boundary = self.__dict__["_boundary"]
        return f"<{boundary.what} of {boundary.origin}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return guarded, (self.__dict__["__wrapped__"], self.__dict__["_kind"], self.__dict__["_boundary"].origin)


def _attribute(thing: Any, name: str) -> Callable[[], Any]:
    """Return what gives an attribute, or raises AttributeError; that there is none is no failure of the plugin."""
    try:
        value = getattr(thing, name)
    except AttributeError:

        def missing() -> Any:
            raise AttributeError(f"{type(thing).__name__!r} object has no attribute {name!r}")

        return missing
    return lambda: value


def _require_plain(boundary: Boundary, name: str, function: Any) -> None:
    """Refuse a method that medtune calls and that returns at once what nobody waits for."""
    is_called = name in _CALLED or any(name in checks for checks in _CHECKS.values())
    if is_called and (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        found = "is a coroutine function (async def), which would never run"
        raise Call(boundary, name, function).fault(found, "its methods are plain functions")


def _call_of(boundary: Boundary, name: str, thing: Any) -> Call:
    function = getattr(thing, name)
    _require_plain(boundary, name, function)
    kept = function if name in _LASTING else boundary.keep(name, function, drawn=name in _OF_MANY_ROWS)
    return Call(boundary, name, kept)


def _method(call: Call, check: Check | None) -> Callable[..., Any]:
    run, name = call.boundary.run, call.method
    function = call.function if check is None else check(call)

    def method(_self: Any, *args: Any, **kwargs: Any) -> Any:
        return run(name, function, *args, **kwargs)

    method.__name__, method.__doc__ = name, call.function.__doc__
    return method
