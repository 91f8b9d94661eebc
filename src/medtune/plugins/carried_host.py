"""How the plugins in use pass to another process: installed ones are found there again, given ones travel."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

__all__ = ["carried", "unpacked"]


@dataclass(frozen=True, slots=True)
class _NamedModule:
    """A module that was passed as a plugin: modules do not pickle, their names do."""

    name: str


def carried(plugins: Iterable[object]) -> tuple[object, ...]:
    """Return plugins in a form that pickles where they do."""
    return tuple(_NamedModule(it.__name__) if isinstance(it, ModuleType) else it for it in plugins)


def unpacked(plugins: Iterable[object]) -> list[object]:
    """Return the plugins that ``carried`` packed."""
    return [import_module(it.name) if isinstance(it, _NamedModule) else it for it in plugins]
