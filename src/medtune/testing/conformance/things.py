"""Checks on a plugin's hooks, and on what holds for things of every kind."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from medtune.errors import PluginError
from medtune.plugins.host import KINDS, PluginHost, create_host
from medtune.testing.conformance.bench import Bench
from medtune.testing.conformance.checks import Case, NotTriedError, check
from medtune.testing.conformance.subject import hooks_of

__all__ = ["own_host"]

_ALL = " ".join(KINDS)
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}")
_METHODS: dict[str, tuple[tuple[str, int], ...]] = {
    "quantizer": (("load", 2), ("stored_as", 2)),
    "adapter": (("attach", 2), ("check", 3)),
    "trainer": (("fit", 1), ("prove", 1), ("held_out_losses", 3)),
    "generator": (("generate", 3), ("generate_from", 4), ("log_probabilities", 3), ("token_scores", 3)),
    "formatter": (("format", 1),),
    "task": (("matches", 1), ("max_new_tokens", 2), ("parse", 2), ("score", 1), ("tally", 1)),
    "bundle": (),
    "exporter": (("export", 3), ("check", 2), ("publish", 3)),
    "reader": (("rows", 1),),
    "encoder": (("fit_and_answer", 1),),
}
"""Kind -> methods that medtune calls, the first ones required, with the number of their arguments."""
_MAY_YIELD = {("reader", "rows")}
"""Kind and method that may be a generator, since all that it yields is read."""


def own_host(bench: Bench) -> PluginHost:
    """Return a host with medtune's own plugins alone."""
    if ("host", "") not in bench.kept:
        bench.kept["host", ""] = create_host(autoload=False)
    found: PluginHost = bench.kept["host", ""]
    return found


@check("hooks-known", "plugin", "Each function marked with hookimpl is a hook of medtune, with arguments that it has.")
def has_known_hooks(case: Case) -> str | None:
    """Register it beside medtune's own plugins."""
    _require(case)
    if case.subject.is_own:
        return None
    try:
        create_host(autoload=False).register(case.subject.plugin, "the plugin")
    except PluginError as error:
        return str(error)
    return None


@check("hooks-present", "plugin", "It implements a hook; a function counts once it is marked with medtune.hookimpl.")
def has_hooks(case: Case) -> str | None:
    """Count its hooks."""
    _require(case)
    if hooks_of(case.subject.plugin):
        return None
    names = [name for name in dir(case.subject.plugin) if name.startswith(("provide_", "run_", "step_"))]
    return f"{', '.join(names) or 'no function'} is marked with hookimpl" if not names else f"{names[0]} is not marked"


@check(
    "hooks-return-lists", "plugin", "A provide_... function returns a list of things that each satisfy their protocol."
)
def returns_lists(case: Case) -> str | None:
    """Call each."""
    _require(case)
    for name, kind, protocol in _provided_kinds(case):
        found = hooks_of(case.subject.plugin)[name]()
        if not isinstance(found, list | tuple):
            return f"{name} returns a value of type {type(found).__name__}"
        for thing in found:
            if not isinstance(thing, protocol) or isinstance(thing, type):
                what = "a class instead of an object" if isinstance(thing, type) else f"a {type(thing).__name__!r}"
                return f"{name} returns {what}, which is no {kind}: it lacks {_lacking(thing, protocol)}"
    return None


@check("hooks-steady", "plugin", "A provide_... function returns things of the same names whenever it is called.")
def is_steady(case: Case) -> str | None:
    """Call each three times."""
    _require(case)
    for name, _kind, _protocol in _provided_kinds(case):
        function = hooks_of(case.subject.plugin)[name]
        named = [[getattr(thing, "name", None) for thing in function() or ()] for _ in range(3)]
        if named[0] != named[1] or named[1] != named[2]:
            return f"{name} returned other names when it was called again"
    return None


@check("plugin-by-identity", "plugin", "The plugin compares by identity, as a module or an object without __eq__ does.")
def is_by_identity(case: Case) -> str | None:
    """Hash it, and look for an ``__eq__``."""
    _require(case)
    owner = type(case.subject.plugin)
    if owner.__hash__ is None:
        return f"{owner.__name__} cannot be hashed"
    has_own = any("__eq__" in vars(each) for each in owner.__mro__ if each is not object)
    return f"{owner.__name__} has an __eq__ of its own" if has_own else None


@check(
    "name-plain", _ALL, "Its name is a text of letters, digits and . _ + -, 64 at most, which a command line can hold."
)
def has_plain_name(case: Case) -> str | None:
    """Match the name."""
    name = getattr(case.thing, "name", None)
    if not isinstance(name, str):
        return f"its name is of type {type(name).__name__}"
    return None if _NAME.fullmatch(name) and name.isascii() else f"its name {name[:70]!r} has something else"


@check("name-free", _ALL, "No other thing of its kind has its name: neither one of medtune's own nor of this plugin.")
def has_free_name(case: Case) -> str | None:
    """Compare with medtune's own."""
    names = [getattr(thing, "name", None) for thing in case.subject.things(case.kind)]
    if names.count(case.name) > 1:
        return f"the plugin provides {names.count(case.name)} of the name '{case.name}'"
    if not case.subject.is_own and case.name in own_host(case.bench).provided(case.kind):
        return f"medtune itself has a {case.kind} '{case.name}'"
    return None


@check(
    "signatures",
    _ALL,
    "Its methods take the arguments of the protocol by position, and are plain functions; only a reader's rows may yield.",
)
def has_signatures(case: Case) -> str | None:
    """Bind arguments to each method."""
    for name, count in _METHODS[case.kind]:
        method = getattr(case.thing, name, None)
        if method is None:
            continue
        if not callable(method):
            return f"{name} is no function"
        if (
            inspect.iscoroutinefunction(method)
            or inspect.isasyncgenfunction(method)
            or (inspect.isgeneratorfunction(method) and (case.kind, name) not in _MAY_YIELD)
        ):
            return f"{name} is a coroutine or a generator, which medtune does not wait for"
        try:
            inspect.signature(method).bind(*range(count))
        except TypeError as error:
            return f"{name} does not take {count} arguments: {error}"
        except ValueError:
            continue  # written in C: it says nothing of its arguments
    return None


def _require(case: Case) -> None:
    if case.subject.plugin is None:
        raise NotTriedError(case.subject.broken or "it cannot be imported")


def _provided_kinds(case: Case) -> Sequence[tuple[str, str, type]]:
    hooks = hooks_of(case.subject.plugin)
    return [(hook, kind, protocol) for kind, (hook, protocol) in KINDS.items() if hook in hooks]


def _lacking(thing: Any, protocol: type) -> str:
    wanted = [name for name in dir(protocol) if not name.startswith("_")]
    wanted += [name for name in getattr(protocol, "__annotations__", {}) if name not in wanted]
    return ", ".join(name for name in wanted if not hasattr(thing, name)) or "being made"
