"""Where a plugin comes from: what is said of it in errors, listings and records."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["OWN", "Origin", "told_of"]

OWN = "medtune"
"""The distribution of medtune's own plugins."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A plugin, and the distribution that brought it.

    Attributes:
        plugin: the name that it is registered under.
        distribution: name of the installed distribution; empty for an object that was handed over in Python.
        version: of the distribution, empty likewise.
    """

    plugin: str
    distribution: str = ""
    version: str = ""

    @property
    def is_own(self) -> bool:
        """Whether the plugin is one of medtune's own."""
        return self.distribution == OWN

    def __str__(self) -> str:
        brought_by = f" of {self.distribution} {self.version}" if self.distribution else ""
        return f"plugin '{self.plugin}'{brought_by}"


def told_of(library: str, **facts: Any) -> dict[str, Any]:
    """Return what a backend that works by a library says of itself: ``library``, its installed ``version``, and more."""
    try:
        return {"library": library, "version": version(library), **facts}
    except PackageNotFoundError:
        return {"library": library, **facts}
