"""Finds plugins, checks them and looks up by name what they provide."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

import pluggy

from medtune.errors import PluginClashError, PluginError, PluginImportError, UnknownNameError
from medtune.plugins import contracts, hookspecs
from medtune.plugins.guards import things_of
from medtune.plugins.origin import OWN, Origin
from medtune.version import __version__

__all__ = ["AUTOLOAD_SWITCH", "BUILTIN_PLUGINS", "KINDS", "PluginHost", "create_host"]

AUTOLOAD_SWITCH = "MEDTUNE_DISABLE_PLUGIN_AUTOLOAD"
"""Environment variable: when set to anything but "" or "0", installed plugins are not loaded."""

BUILTIN_PLUGINS = (
    "medtune.backends.bitsandbytes",
    "medtune.backends.fp8",
    "medtune.backends.peft",
    "medtune.backends.trl",
    "medtune.backends.generate",
    "medtune.backends.vllm",
    "medtune.backends.encoder",
    "medtune.data.formatters",
    "medtune.evaluation.tasks",
    "medtune.bundles",
    "medtune.export.exporters",
)
"""medtune's own plugins, dotted so that the core imports none of them."""

KINDS: Mapping[str, tuple[str, type]] = {
    "quantizer": ("provide_quantizers", contracts.Quantizer),
    "adapter": ("provide_adapters", contracts.Adapter),
    "trainer": ("provide_trainers", contracts.Trainer),
    "generator": ("provide_generators", contracts.Generator),
    "formatter": ("provide_formatters", contracts.PromptFormatter),
    "task": ("provide_tasks", contracts.Task),
    "bundle": ("provide_bundles", contracts.Bundle),
    "exporter": ("provide_exporters", contracts.Exporter),
    "encoder": ("provide_encoders", contracts.EncoderTrainer),
}
"""Kind of thing -> the hook that provides it and the contract it satisfies."""


class PluginHost:
    """Names registered by plugins, and the observers of a run."""

    def __init__(self, manager: pluggy.PluginManager, origins: Mapping[str, Origin] = MappingProxyType({})) -> None:
        self.manager = manager
        self.settled_tasks: dict[str, Any] = {}
        self._origins = dict(origins)
        self._kept: dict[str, list[tuple[Any, str]]] = {}

    def find(self, kind: str, name: str) -> Any:
        """Return the registered ``kind`` of that name; raise UnknownNameError with the near misses."""
        provided = self.provided(kind)
        if name not in provided:
            raise UnknownNameError(kind, name, provided)
        return provided[name][0]

    def provided(self, kind: str) -> dict[str, tuple[Any, str]]:
        """Return name -> (thing, owner) of all things of a kind, in the order of their names."""
        found: dict[str, tuple[Any, str]] = {}
        for thing, owner in self._things(kind):
            if thing.name in found:
                raise PluginClashError(kind, thing.name, (found[thing.name][1], owner))
            found[thing.name] = (thing, owner)
        return dict(sorted(found.items()))

    def all(self, kind: str) -> list[Any]:
        """Return all things of a kind, in the order of their names."""
        settled = self.settled_tasks if kind == "task" else {}
        return [settled.get(thing.name, thing) for thing, _owner in self.provided(kind).values()]

    def extended(self, *plugins: object) -> "PluginHost":
        """Return a host with the same plugins and these."""
        manager = _empty_manager()
        for name, plugin in self.manager.list_name_plugin():
            if plugin is not None:
                manager.register(plugin, name)
        host = PluginHost(manager, self._origins)
        for plugin in plugins:
            host.register(plugin)
        return host

    def origin(self, plugin: str) -> Origin:
        """Return where the plugin of that name comes from."""
        return self._origins.get(plugin, Origin(plugin))

    def with_tasks(self, tasks: Sequence[Any]) -> "PluginHost":
        """Return a host with the same plugins that hands out these tasks, told what a run's sources are."""
        host = PluginHost(self.manager, self._origins)
        host._kept = self._kept
        host.settled_tasks = {task.name: task for task in tasks}
        return host

    def register(self, plugin: object, name: str | None = None, *, distribution: str = "", version: str = "") -> None:
        """Register a plugin, brought by that distribution; raise PluginError when it breaks a hook's contract."""
        label = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        if self.manager.get_plugin(label) not in (None, plugin):
            raise PluginError(f"two plugins are called '{label}'; rename the entry point of one of them")
        try:
            self.manager.register(plugin, label)
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            raise PluginError(_explain(label, error)) from error
        self._origins[label] = Origin(label, distribution, version)
        self._kept.clear()

    def _things(self, kind: str) -> list[tuple[Any, str]]:
        """Return things and owners, asked for once per host."""
        if kind not in self._kept:
            hook_name, contract = KINDS[kind]
            self._kept[kind] = [
                (thing, impl.plugin_name)
                for impl in getattr(self.manager.hook, hook_name).get_hookimpls()
                for thing in things_of(kind, hook_name, contract, impl.function, self.origin(impl.plugin_name))
            ]
        return self._kept[kind]


def create_host(plugins: Iterable[object] = (), *, autoload: bool | None = None) -> PluginHost:
    """Build a host with medtune's own plugins, the installed ones, and ``plugins``.

    Args:
        plugins: modules or objects with hook implementations, registered last.
        autoload: whether plugins are loaded from entry points; None asks the environment variable
            ``MEDTUNE_DISABLE_PLUGIN_AUTOLOAD``.

    Raises:
        PluginImportError: an installed plugin cannot be imported.
        PluginError: a plugin implements a hook that does not exist, or with unknown arguments.
    """
    host = PluginHost(_empty_manager())
    for dotted in BUILTIN_PLUGINS:
        host.register(import_module(dotted), dotted, distribution=OWN, version=__version__)
    if autoload is None:
        autoload = os.environ.get(AUTOLOAD_SWITCH, "") in ("", "0")
    if autoload:
        for entry_point in sorted(entry_points(group=hookspecs.PROJECT), key=lambda e: e.name):
            name, version = (entry_point.dist.name, entry_point.dist.version) if entry_point.dist else ("", "")
            host.register(_load(entry_point), entry_point.name, distribution=name, version=version)
    for plugin in plugins:
        host.register(plugin)
    return host


def _empty_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _load(entry_point: EntryPoint) -> object:
    distribution = entry_point.dist.name if entry_point.dist else "unknown"
    try:
        return entry_point.load()
    except Exception as error:
        raise PluginImportError(entry_point.name, distribution, f"{type(error).__name__}: {error}") from error


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
