"""Imports installed plugins, one by one, so that none takes the others or the process down with it."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from medtune.errors import PluginImportError
from medtune.plugins.origin import Origin

__all__ = ["Installed", "load", "named_twice"]


@dataclass(frozen=True, slots=True)
class Installed:
    """A plugin as its distribution registers it, not yet imported."""

    point: EntryPoint

    @property
    def label(self) -> str:
        """The name of its entry point."""
        return self.point.name

    @property
    def origin(self) -> Origin:
        """Where it comes from."""
        name, version = (self.point.dist.name, self.point.dist.version) if self.point.dist else ("", "")
        return Origin(self.label, name, version)


def load(plugin: Installed) -> object:
    """Import a plugin; what it prints goes to stderr, since stdout is data.

    Raises:
        PluginImportError: it cannot be imported, or ends the process when it is.
    """
    try:
        with redirect_stdout(sys.stderr):
            return plugin.point.load()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginImportError(plugin.label, plugin.origin.distribution or "unknown", reason) from error


def named_twice(plugins: Sequence[Installed]) -> dict[str, str]:
    """Return label -> complaint for each name that several entry points have."""
    owners: dict[str, list[str]] = defaultdict(list)
    for each in plugins:
        owners[each.label].append(each.origin.distribution or "an unknown distribution")
    return {
        label: f"{' and '.join(sorted(names))} both bring a plugin of this name; uninstall one, or list the other alone in plugins"
        for label, names in owners.items()
        if len(names) > 1
    }
