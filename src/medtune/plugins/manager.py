"""Hooks a plugin into pluggy, and says what is wrong with one that does not keep to the hooks."""

import difflib
import inspect
import re

import pluggy

from medtune.errors import PluginError
from medtune.plugins import hookspecs

__all__ = ["empty_manager", "hook_into"]


def empty_manager() -> pluggy.PluginManager:
    """Return a manager that knows medtune's hooks and no plugin."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def hook_into(manager: pluggy.PluginManager, plugin: object, label: str) -> None:
    """Register a plugin under a name.

    Raises:
        PluginError: the name is taken, the plugin needs newer hooks, or the plugin implements a hook that does not exist, or with unknown arguments.
    """
    if manager.get_plugin(label) not in (None, plugin):
        raise PluginError(f"two plugins are called '{label}'; rename the entry point of one of them")
    _require_hooks(plugin, label)
    try:
        manager.register(plugin, label)
        manager.check_pending()
        _require_plain(manager, plugin, label)
    except pluggy.PluginValidationError as error:
        if manager.is_registered(plugin):
            manager.unregister(plugin)
        raise PluginError(_explain(label, error)) from error
    except PluginError:
        manager.unregister(plugin)
        raise


def _require_hooks(plugin: object, label: str) -> None:
    """Refuse a plugin that was written for hooks that this medtune does not have yet."""
    needed = getattr(plugin, "medtune_hook_version", 1)
    if type(needed) is not int or needed < 1:
        raise PluginError(
            f"plugin '{label}' states medtune_hook_version {needed!r}, which must be a whole number from 1 on"
        )
    if needed > hookspecs.HOOK_VERSION:
        raise PluginError(
            f"plugin '{label}' needs version {needed} of medtune's hooks and this medtune has {hookspecs.HOOK_VERSION}; "
            "install a newer medtune, or an older release of the plugin"
        )


def _require_plain(manager: pluggy.PluginManager, plugin: object, label: str) -> None:
    """Refuse hooks that would be called and never run, since nobody waits for what they return."""
    for caller in manager.get_hookcallers(plugin) or ():
        for implementation in caller.get_hookimpls():
            is_wrapper = implementation.wrapper or implementation.hookwrapper  # a generator, as pluggy wants it
            if implementation.plugin is plugin and not is_wrapper and (what := _unlike(implementation.function)):
                raise PluginError(
                    f"plugin '{label}' implements '{caller.name}' as {what}, which would never run; make it a plain function"
                )


def _unlike(function: object) -> str:
    """Return what a function is that does not run when it is called; empty for a plain one."""
    if inspect.iscoroutinefunction(function):
        return "a coroutine function (async def)"
    is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return "a generator function (yield)" if is_generator else ""


def _explain(plugin: str, error: pluggy.PluginValidationError) -> str:
    """Say which hook of ``plugin`` is wrong and which hook was probably meant."""
    complaint = "; ".join(line.strip() for line in str(error).strip().splitlines())
    unknown = re.search(r"unknown hook '(\w+)'", complaint)
    if unknown:
        hooks = [name for name in vars(hookspecs) if name.startswith(("provide_", "run_", "step_"))]
        close = difflib.get_close_matches(unknown[1], hooks, n=1)
        meant = f"did you mean '{close[0]}'?" if close else f"hooks: {', '.join(hooks)}"
        return f"plugin '{plugin}' implements '{unknown[1]}', which is no hook; {meant}"
    return f"plugin '{plugin}' breaks a hook's contract: {complaint}"
