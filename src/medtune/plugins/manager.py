"""Hooks a plugin into pluggy, and says what is wrong with one that does not keep to the hooks."""

import difflib
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
    except pluggy.PluginValidationError as error:
        if manager.is_registered(plugin):
            manager.unregister(plugin)
        raise PluginError(_explain(label, error)) from error


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
