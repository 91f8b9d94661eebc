"""What a plugin's hook provides: a list of things that satisfy their contract, each with a name; wrapped for use."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from medtune.errors import PluginContractError, PluginError
from medtune.plugins.contracts import Bundle
from medtune.plugins.guards.boundary import Boundary, Call
from medtune.plugins.guards.values import is_whole
from medtune.plugins.guards.wrapping import guarded
from medtune.plugins.origin import Origin
from medtune.specs import RunSpec

__all__ = ["things_of"]

_NAME = re.compile(r"[^\W_][\w.+-]{0,99}")


def things_of(kind: str, hook: str, contract: type, function: Callable[[], Any], origin: Origin) -> list[Any]:
    """Return the things that a plugin's hook provides, guarded unless they are medtune's own.

    Raises:
        PluginFailedError: the hook raised.
        PluginError: it provides what is no list, or a thing that does not satisfy its contract or has no proper name.
    """
    boundary = Boundary(origin, modules=(getattr(function, "__module__", None) or "",))
    found = boundary.run(hook, function)
    if not isinstance(found, list | tuple):
        raise PluginContractError(str(origin), hook, f"returned a {type(found).__name__}", "it returns a list")
    things: list[Any] = []
    for thing in found:
        if not boundary.run(hook, isinstance, thing, contract):
            raise PluginError(
                f"{origin} provides {type(thing).__name__!r} in {hook}, which does not satisfy {contract.__name__} (see "
                "the plugin guide)"
            )
        if origin.is_own:
            things.append(thing)
            continue
        _require_name(boundary, hook, thing)
        if isinstance(thing, Bundle):
            boundary.run(hook, _require_bundle, Call(boundary, hook, function), thing)
        things.append(thing if isinstance(thing, Bundle) else boundary.run(hook, guarded, thing, kind, origin))
    return things


def _require_name(boundary: Boundary, hook: str, thing: Any) -> None:
    name = boundary.run(hook, getattr, thing, "name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        told = repr(name) if isinstance(name, str) else f"a {type(name).__name__}"
        wanted = "a name is letters, digits and . _ + -, and begins with a letter or digit"
        raise PluginContractError(str(boundary.origin), hook, f"provides a thing whose name is {told}", wanted)


def _require_bundle(call: Call, bundle: Bundle) -> None:
    spec: Any = bundle.spec
    call.require(isinstance(spec, RunSpec), f"provides bundle '{bundle.name}' without a RunSpec", "its spec is one")
    try:
        RunSpec.model_validate(spec.model_dump(mode="json", warnings=False))
    except ValueError as error:
        raise call.fault(
            f"provides bundle '{bundle.name}' with a spec that is not valid", "its spec is a run"
        ) from error
    call.require(
        isinstance(bundle.summary, str), f"gives bundle '{bundle.name}' a summary that is no text", "it is one"
    )
    terms: Any = bundle.licences
    is_told = isinstance(terms, Mapping) and all(isinstance(text, str) for pair in terms.items() for text in pair)
    call.require(is_told, f"gives bundle '{bundle.name}' licences that are no texts", "repository -> its terms")
    call.require(isinstance(bundle.model_config, Mapping), f"bundle '{bundle.name}' has no model_config", "a mapping")
    for count in (bundle.train_tokens, bundle.sources):
        call.require(count is None or is_whole(count), f"bundle '{bundle.name}' counts what is no number", "an int")
