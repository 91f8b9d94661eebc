"""What is checked: a plugin in memory, with what it provides and how it is imported again."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from medtune.errors import MedtuneError, PluginError, PluginFileError
from medtune.plugins import hookspecs
from medtune.plugins.host import BUILTIN_PLUGINS, KINDS
from medtune.plugins.single_file import load_plugin_file
from medtune.testing.conformance.probing import probe, unfit_to_import

__all__ = ["OBSERVERS", "Subject", "hooks_of", "subjects_of"]

OBSERVERS = ("run_started", "step_logged", "run_finished", "run_failed")


@dataclass(frozen=True, slots=True)
class Subject:
    """A plugin.

    Attributes:
        label: name of its entry point, module or file.
        plugin: module or object; None where it could not be imported.
        target: name of its module or path of its file, by which another process imports it; empty for an object.
        broken: why it could not be imported.
        probed: what importing it in a process of its own does; None for an object.
    """

    label: str
    plugin: Any
    target: str = ""
    broken: str = ""
    probed: Mapping[str, Any] | None = None
    provided: dict[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])

    @property
    def is_own(self) -> bool:
        """Whether it is one of medtune's own."""
        return self.label in BUILTIN_PLUGINS

    @property
    def observes(self) -> bool:
        """Whether it has a hook that observes runs."""
        return self.plugin is not None and any(name in OBSERVERS for name in hooks_of(self.plugin))

    def things(self, kind: str) -> Sequence[Any]:
        """Return what it provides of a kind, as well as it can be had; asked once, then kept."""
        if kind not in self.provided:
            self.provided[kind] = list(_things(self.plugin, KINDS[kind][0]))
        return self.provided[kind]


def hooks_of(plugin: Any) -> dict[str, Any]:
    """Return the functions of a plugin that are marked with ``hookimpl``, by name."""
    found = {}
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        if callable(function) and hasattr(function, f"{hookspecs.PROJECT}_impl"):
            found[name] = function
    return found


def subjects_of(what: object) -> list[Subject]:
    """Return the plugins meant by a distribution's name, a module's name, a file, or a plugin itself.

    Raises:
        PluginError: no distribution with a plugin, no module and no file has that name.
    """
    if isinstance(what, ModuleType):
        target = what.__name__ if find_spec_of(what.__name__) else ""
        return [Subject(what.__name__, what, target, probed=probe(target) if target else None)]
    if isinstance(what, Path) or (isinstance(what, str) and what.endswith(".py")):
        return [_of_file(Path(what))]
    if not isinstance(what, str):
        return [Subject(getattr(what, "__name__", None) or type(what).__name__, what)]
    entry_points = _entry_points(what)
    if entry_points:
        return [_imported(name, target) for name, target in entry_points]
    if find_spec_of(what) is None:
        raise PluginError(
            f"'{what}' is no installed distribution with a plugin, no module and no file; give one of these, such as FILE.py"
        )
    return [_imported(what, what)]


def find_spec_of(name: str) -> Any:
    """Return how a module would be imported, None where it would not."""
    try:
        return find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _entry_points(name: str) -> list[tuple[str, str]]:
    try:
        found = distribution(name)
    except (PackageNotFoundError, ValueError):
        return []
    return [(each.name, each.value) for each in found.entry_points if each.group == hookspecs.PROJECT]


def _of_file(path: Path) -> Subject:
    target = str(path.resolve())
    if not path.is_file():
        raise PluginFileError(str(path), "there is no such Python file; give the path of one")
    probed = probe(target)
    if reason := unfit_to_import(probed):
        return Subject(path.stem, None, target, reason, probed)
    try:
        return Subject(path.stem, load_plugin_file(path), target, probed=probed)
    except PluginError as error:
        return Subject(path.stem, None, target, str(error), probed)


def _imported(label: str, target: str) -> Subject:
    probed = probe(target)
    if reason := unfit_to_import(probed):
        return Subject(label, None, target, reason, probed)
    module, _, attribute = target.partition(":")
    try:
        plugin: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            plugin = getattr(plugin, part)
    except MedtuneError as error:
        return Subject(label, None, target, str(error), probed)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code; the check on loading says what it was
        return Subject(label, None, target, f"{type(error).__name__} while it was imported", probed)
    return Subject(label, plugin, target, probed=probed)


def _things(plugin: Any, hook: str) -> Iterator[Any]:
    function = hooks_of(plugin).get(hook) if plugin is not None else None
    if function is None:
        return
    try:
        found = function()
        yield from found if isinstance(found, list | tuple) else ()
    except (Exception, SystemExit):  # noqa: BLE001 - foreign code; the check on hooks says what it was
        return
