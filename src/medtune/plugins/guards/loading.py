"""What a quantizer and an adapter may not hand on: no tokenizer, no stop ids, a changed base, an adapter that cannot be trained."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any

from medtune.plugins.contracts import AdapterSet, Loaded
from medtune.plugins.guards.boundary import Call
from medtune.plugins.guards.tensors import changed_among, sampled
from medtune.plugins.guards.values import is_whole
from medtune.specs import LoraSpec

__all__ = ["checked_attach", "checked_load", "checked_stored_as"]

_COMPUTE_TYPES = ("bf16", "fp16", "fp32")
_MOVES_BASE = ("pissa", "olora", "loftq")
"""Initialisations that take something out of the base; that ``base_only`` puts it back is proved by its answers."""
_FROZEN = "an adapter leaves every value of the base as it was"
_TRAINABLE = "it returns the model with trainable parameters of its own, in fp32 and finite"


def checked_load(call: Call) -> Callable[..., Loaded]:
    """Return a quantizer's ``load``, whose model comes with what it needs to be used."""

    def load(*args: Any, **kwargs: Any) -> Loaded:
        found = _loaded(call, call.function(*args, **kwargs))
        stop_ids: Any = found.stop_ids
        call.require(
            isinstance(stop_ids, tuple) and len(stop_ids) > 0 and all(map(is_whole, stop_ids)),
            "returned stop_ids that are no tuple of ids",
            "they are the ids that end an answer, at least one",
        )
        scheme: Any = found.scheme
        call.require(isinstance(scheme, str), "returned a scheme that is no text", "it names the storage")
        return found

    return load


def checked_stored_as(call: Call) -> Callable[..., Any]:
    """Return a quantizer's ``stored_as``, which gives a guarded function or None."""

    def stored_as(*args: Any, **kwargs: Any) -> Any:
        found = call.function(*args, **kwargs)
        if found is None:
            return None
        call.require(callable(found), f"returned a {type(found).__name__}", "it returns a function, or None")
        return lambda *given: call.boundary.run(call.method, found, *given)

    return stored_as


def checked_attach(call: Call) -> Callable[[Loaded, LoraSpec], Loaded]:
    """Return an adapter's ``attach``, which leaves the base alone and adds what can be trained."""

    def attach(loaded: Loaded, spec: LoraSpec) -> Loaded:
        held = list(loaded.model.named_parameters())  # the tensors themselves: wrapping a layer renames them
        before = sampled(held)
        found = _loaded(call, call.function(loaded, spec))
        changed = changed_among(before, sampled(held))
        may_change = spec.init in _MOVES_BASE
        call.require(changed is None or may_change, f"changed the base's '{changed}'", _FROZEN)
        trained = [(name, p) for name, p in found.model.named_parameters() if p.requires_grad]
        call.require(bool(trained), "returned a model with nothing to train", _TRAINABLE)
        for name, parameter in trained:
            kind = str(parameter.dtype).removeprefix("torch.")
            call.require(kind == "float32", f"returned '{name}' in {kind}", _TRAINABLE)
            call.require(bool(parameter.isfinite().all()), f"returned '{name}' with values not finite", _TRAINABLE)
        return replace(found, **_guarded_parts(call, loaded, found))

    return attach


def _loaded(call: Call, found: Any) -> Loaded:
    call.require(isinstance(found, Loaded), f"returned a {type(found).__name__}", "it returns a Loaded")
    call.require(hasattr(found.model, "named_parameters"), "returned no model", "it is a torch module")
    call.require(found.tokenizer is not None, "returned no tokenizer", "it is the base's, with a pad token")
    has_pad = getattr(found.tokenizer, "pad_token_id", 0) is not None
    call.require(has_pad, "returned a tokenizer without a pad token", "rows of a batch are filled up with it")
    call.require(isinstance(found.device, str) and bool(found.device), "named no device", 'it is such as "cuda:0"')
    is_type = found.compute_dtype in _COMPUTE_TYPES
    call.require(is_type, "named no compute type", f"compute_dtype is one of {', '.join(_COMPUTE_TYPES)}")
    return found  # type: ignore[no-any-return]


def _guarded_parts(call: Call, given: Loaded, found: Loaded) -> dict[str, Any]:
    """Return what ``attach`` has set of a loaded model, guarded as its method is."""
    parts: dict[str, Any] = {}
    for name in ("save_adapter", "load_adapter"):
        function = getattr(found, name)
        if function is not None and function is not getattr(given, name):
            call.require(callable(function), f"set {name} to what cannot be called", "it takes a folder")
            parts[name] = _guarded(call, name, function)
    if found.detach is not None and found.detach is not given.detach:
        call.require(callable(found.detach), "set detach to what cannot be called", "it takes the adapter off")
        parts["detach"] = _guarded(call, "detach", found.detach)
    if found.adapters is not None and found.adapters is not given.adapters:
        parts["adapters"] = _GuardedSet(call, found.adapters)
    if found.base_only is not given.base_only:
        call.require(callable(found.base_only), "set base_only to what cannot be called", "it makes a context")
        make = found.base_only
        parts["base_only"] = lambda: _GuardedContext(call, "base_only", make)
    return parts


def _guarded(call: Call, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: call.boundary.run(name, function, *args)


class _GuardedSet:
    """Further adapters on a base, as foreign code holds them."""

    def __init__(self, call: Call, adapters: AdapterSet) -> None:
        self.add = _guarded(call, "adapters.add", adapters.add)
        self.use = _guarded(call, "adapters.use", adapters.use)
        self.remove = _guarded(call, "adapters.remove", adapters.remove)


class _GuardedContext:
    """A context of foreign code; what its body raises passes, and is not swallowed."""

    def __init__(self, call: Call, name: str, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._run, self._name, self._make = call.boundary.run, name, make

    def __enter__(self) -> Any:
        self._context = self._run(self._name, self._make)
        return self._run(self._name, self._context.__enter__)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._name, self._leave, kind, error, trace)

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._context.__exit__(kind, error, trace)
        except BaseException as raised:
            if raised is not error:
                raise
