"""Finds plugins, checks them and looks up by name what they provide."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any

import pluggy

from medtune.errors import DisabledPluginError, PluginClashError, PluginError, UnknownNameError
from medtune.errors.locked_mode import is_locked
from medtune.plugins import contracts, hookspecs
from medtune.plugins.allowed import entries_of, fault_of, normalized, parted, permitted, refuse_early
from medtune.plugins.carried_host import carried, unpacked
from medtune.plugins.guards import things_of
from medtune.plugins.installed import Installed, load, named_twice
from medtune.plugins.manager import empty_manager, hook_into
from medtune.plugins.origin import OWN, Origin
from medtune.version import __version__

__all__ = ["AUTOLOAD_SWITCH", "BUILTIN_PLUGINS", "KINDS", "PluginHost", "create_host", "host_of", "listed_in"]

_LOG = logging.getLogger(__name__)
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
    "medtune.backends.trackers.mlflow",
    "medtune.backends.trackers.tensorboard",
    "medtune.backends.trackers.trackio",
    "medtune.backends.trackers.wandb",
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
    "reader": ("provide_readers", contracts.Reader),
    "encoder": ("provide_encoders", contracts.EncoderTrainer),
}
"""Kind of thing -> the hook that provides it and the contract it satisfies."""


class PluginHost:
    """Names registered by plugins, and the observers of a run.

    ``disabled`` says of each installed plugin that could not be used, and of each entry of a list of plugins that names
    nothing usable, why; ``was_locked`` whether the process was locked before any was imported.
    """

    def __init__(
        self,
        manager: pluggy.PluginManager,
        origins: Mapping[str, Origin] = MappingProxyType({}),
        named: Sequence[str] = (),
    ) -> None:
        self.manager = manager
        self.settled_tasks: dict[str, Any] = {}
        self.was_locked = is_locked()
        self._origins = dict(origins)
        self._disabled: dict[str, str] = {}
        self._named = tuple(named)
        self._kept: dict[str, list[tuple[Any, str]]] = {}

    @property
    def disabled(self) -> Mapping[str, str]:
        """Name of a plugin, or entry of a list of plugins -> why it is not used."""
        return MappingProxyType(self._disabled)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy is made, here or in another process: of the installed plugins there, and those given here."""
        labels = [(self.origin(name), plugin) for name, plugin in self.manager.list_name_plugin() if plugin]
        given = [plugin for origin, plugin in labels if not origin.distribution]
        installed = entries_of([origin for origin, _plugin in labels])
        return _host_again, (carried(given), installed, self.settled_tasks)

    def find(self, kind: str, name: str) -> Any:
        """Return the registered ``kind`` of that name; raise UnknownNameError with the near misses."""
        provided = self.provided(kind)
        if name not in provided:
            raise UnknownNameError(kind, name, provided, self._disabled)
        return provided[name][0]

    def provided(self, kind: str) -> dict[str, tuple[Any, str]]:
        """Return name -> (thing, owner) of all things of a kind, in the order of their names."""
        found: dict[str, tuple[Any, str]] = {}
        for thing, owner in self._things(kind):
            if thing.name in found:
                raise PluginClashError(kind, thing.name, (found[thing.name][1], owner))
            found[thing.name] = (thing, owner)
        return dict(sorted(found.items()))

    def everything(self) -> Iterator[tuple[str, str, Any, str]]:
        """Yield kind, name, thing and owner of all that plugins provide."""
        for kind in KINDS:
            for name, (thing, owner) in self.provided(kind).items():
                yield kind, name, thing, owner

    def all(self, kind: str) -> list[Any]:
        """Return all things of a kind, in the order of their names."""
        settled = self.settled_tasks if kind == "task" else {}
        return [settled.get(thing.name, thing) for thing, _owner in self.provided(kind).values()]

    def extended(self, *plugins: object) -> "PluginHost":
        """Return a host with the same plugins and these."""
        host = self._copy(label for label, _plugin in self.manager.list_name_plugin())
        for plugin in plugins:
            host.register(plugin)
        return host

    def without(self, missing: Mapping[str, str]) -> "PluginHost":
        """Return a host with the same plugins that says of other ones, by name, why they are not there."""
        host = self.extended()
        host._disabled = {**self._disabled, **missing}  # noqa: SLF001 - of its own kind
        return host

    def only(self, allowed: Sequence[str]) -> "PluginHost":
        """Return a host without installed plugins of other distributions than these, "NAME" or "NAME==VERSION"."""
        listed = {parted(entry) for entry in allowed}

        def may_stay(label: str) -> bool:
            origin = self.origin(label)
            name = normalized(origin.distribution)
            return not name or origin.is_own or not listed.isdisjoint({(name, ""), (name, origin.version)})

        labels = [label for label, _plugin in self.manager.list_name_plugin()]
        kept = [label for label in labels if may_stay(label)]
        return self if kept == labels else self._copy(kept)

    def require(self, allowed: Sequence[str] | None) -> "PluginHost":
        """Return this host; refuse entries of a list of plugins that name none in use, those of the environment included.

        Raises:
            DisabledPluginError: its distribution is missing, of another version, or its plugin is disabled.
        """
        brought = {normalized(o.distribution): o.version for o in self._origins.values() if o.distribution}
        for entry in dict.fromkeys((*(allowed or ()), *self._named)):
            labels = [label for label, o in self._origins.items() if normalized(o.distribution) == parted(entry)[0]]
            faults = [self._disabled[label] for label in (entry, *labels) if label in self._disabled]
            fault = next(iter(faults), "") or fault_of(entry, brought)
            if fault:
                raise DisabledPluginError(entry, fault)
        return self

    def disable(self, plugin: Origin, reason: str) -> None:
        """Leave a plugin out, and say why in ``disabled`` and in medtune's log."""
        self._origins[plugin.plugin] = plugin
        self._disabled[plugin.plugin] = reason
        _LOG.warning("%s is disabled: %s", plugin, reason)

    def _copy(self, labels: Iterable[str]) -> "PluginHost":
        host = PluginHost(empty_manager(), self._origins, self._named)
        for label in labels:
            if (plugin := self.manager.get_plugin(label)) is not None:
                host.manager.register(plugin, label)
        host._disabled, host.settled_tasks, host.was_locked = self._disabled, self.settled_tasks, self.was_locked
        return host

    def origin(self, plugin: str) -> Origin:
        """Return where the plugin of that name comes from."""
        return self._origins.get(plugin, Origin(plugin))

    def with_tasks(self, tasks: Sequence[Any]) -> "PluginHost":
        """Return a host with the same plugins that hands out these tasks, told what a run's sources are."""
        host = PluginHost(self.manager, self._origins, self._named)
        host._disabled, host.was_locked, host._kept = self._disabled, self.was_locked, self._kept
        host.settled_tasks = {task.name: task for task in tasks}
        return host

    def register(self, plugin: object, name: str | None = None, *, distribution: str = "", version: str = "") -> None:
        """Register a plugin, brought by that distribution; raise PluginError when it breaks a hook's contract."""
        if isinstance(plugin, str):
            raise PluginError(f"'{plugin}' is no plugin; distributions are listed in the spec's plugins")
        label = name or getattr(plugin, "__name__", None) or type(plugin).__name__
        hook_into(self.manager, plugin, label)
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


def create_host(
    plugins: Iterable[object] = (), *, autoload: bool | None = None, allowed: Sequence[str] | None = None
) -> PluginHost:
    """Build a host with medtune's own plugins, the installed ones, and ``plugins``.

    An installed plugin that is broken is disabled and the others are used; one that is handed over is an error.

    Args:
        plugins: modules or objects with hook implementations, registered last.
        autoload: whether plugins are loaded from entry points; None asks the environment variable ``AUTOLOAD_SWITCH``.
        allowed: distributions, "NAME" or "NAME==VERSION", whose installed plugins may load; None for all. No other one is
            imported. The environment variable ``MEDTUNE_PLUGINS`` narrows it.

    Raises:
        PluginError: one of ``plugins`` implements a hook that does not exist, or with unknown arguments.
    """
    autoload = os.environ.get(AUTOLOAD_SWITCH, "") in ("", "0") if autoload is None else autoload
    points, named, refused = permitted(entry_points(group=hookspecs.PROJECT) if autoload else (), allowed)
    host = PluginHost(empty_manager(), named=named)
    for dotted in BUILTIN_PLUGINS:
        host.register(import_module(dotted), dotted, distribution=OWN, version=__version__)
    for entry, reason in refused.items():
        host.disable(Origin(entry), reason)
    _add_installed(host, [Installed(point) for point in sorted(points, key=lambda point: point.name)])
    for plugin in plugins:
        host.register(plugin)
    return host


def _host_again(given: Sequence[object], installed: Sequence[str], settled_tasks: dict[str, Any]) -> PluginHost:
    host = create_host(unpacked(given), autoload=bool(installed), allowed=installed or None)
    host.settled_tasks = settled_tasks
    return host


def host_of(plugins: PluginHost | Iterable[object], allowed: Sequence[str] | None = None) -> PluginHost:
    """Return a host as it was given, or one with these plugins; in both, installed ones are those that are allowed."""
    host = plugins if isinstance(plugins, PluginHost) else create_host(plugins, allowed=allowed)
    return refuse_early(host if allowed is None else host.only(allowed))


def listed_in(plugins: PluginHost | Iterable[object]) -> tuple[tuple[str, ...] | None, PluginHost]:
    """Return the distributions that are named among ``plugins``, None where none is, and the host of all of them."""
    if isinstance(plugins, PluginHost):
        return None, plugins
    given = list(plugins)
    allowed = tuple(each for each in given if isinstance(each, str)) or None
    return allowed, host_of([each for each in given if not isinstance(each, str)], allowed)


def _add_installed(host: PluginHost, found: Sequence[Installed]) -> None:
    """Register the installed plugins that work, each tried alone; what two of them provide under one name, neither does."""
    whole = _whole(host, found)
    owners: dict[tuple[str, str], set[Origin]] = defaultdict(set)
    for kind in KINDS if whole else ():
        for name, (_thing, owner) in host.provided(kind).items():
            owners[kind, name].add(host.origin(owner))
    for origin, (_plugin, provides) in whole.items():
        for thing in provides:
            owners[thing].add(origin)
    for origin, (plugin, provides) in whole.items():
        clashes = [(thing, other) for thing in sorted(provides) for other in owners[thing] - {origin}]
        if clashes:
            (kind, name), other = clashes[0]
            host.disable(origin, f"{kind} '{name}' is also provided by {other}; uninstall or allow one of them")
        else:
            host.register(plugin, origin.plugin, distribution=origin.distribution, version=origin.version)


def _whole(host: PluginHost, found: Sequence[Installed]) -> dict[Origin, tuple[object, set[tuple[str, str]]]]:
    """Import plugins and return those that keep their contracts, with kind and name of what each provides."""
    twice = named_twice(found)
    for label, reason in twice.items():
        host.disable(Origin(label), reason)
    whole: dict[Origin, tuple[object, set[tuple[str, str]]]] = {}
    for each in found:
        if each.label not in twice:
            try:
                whole[each.origin] = (plugin := load(each)), _provided_by(plugin, each.origin)
            except PluginError as error:
                host.disable(each.origin, str(error))
    return whole


def _provided_by(plugin: object, origin: Origin) -> set[tuple[str, str]]:
    """Return kind and name of all that a plugin provides; raise PluginError where it breaks a contract."""
    alone = PluginHost(empty_manager())
    alone.register(plugin, origin.plugin, distribution=origin.distribution, version=origin.version)
    return {(kind, name) for kind in KINDS for name in alone.provided(kind)}
