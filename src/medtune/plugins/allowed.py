"""Which installed plugins may load: decided by their distributions, before anything of them is imported."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, version

__all__ = ["LIST_VARIABLE", "entries_of_environment", "fault_of", "normalized", "parted", "permitted"]

LIST_VARIABLE = "MEDTUNE_PLUGINS"
"""Environment variable: distributions, "NAME" or "NAME==VERSION", separated by commas; no others load. Empty is unset."""


def normalized(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def parted(entry: str) -> tuple[str, str]:
    """Return the normalized name and the version, or "", of "NAME" or "NAME==VERSION"."""
    name, _, release = entry.partition("==")
    return normalized(name.strip()), release.strip()


def entries_of_environment() -> list[str] | None:
    """Return what ``MEDTUNE_PLUGINS`` lists, None where it is not set."""
    listed = [entry.strip() for entry in os.environ.get(LIST_VARIABLE, "").split(",")]
    return [entry for entry in listed if entry] or None


def permitted(
    points: Iterable[EntryPoint], allowed: Sequence[str] | None
) -> tuple[list[EntryPoint], list[str], dict[str, str]]:
    """Return the entry points that may load, the entries that name any, and entry -> why nothing of it can load.

    Args:
        points: of all installed plugins.
        allowed: entries of a spec, None where it has no list; the environment's list narrows it.
    """
    points, narrowed = list(points), entries_of_environment()
    lists = [each for each in (allowed, narrowed) if each is not None]
    named = list(dict.fromkeys(entry for each in lists for entry in each))
    brought = {normalized(name): release for name, release in map(_brought_by, points) if name}
    refused = {entry: fault for entry in named if (fault := fault_of(entry, brought))}
    if narrowed is not None:
        names = {parted(entry)[0] for entry in narrowed}
        refused |= {
            entry: f"{LIST_VARIABLE} does not list it" for entry in allowed or () if parted(entry)[0] not in names
        }
    kept = [point for point in points if all(_is_listed(point, each) for each in lists)]
    return kept, named, refused


def fault_of(entry: str, brought: Mapping[str, str]) -> str:
    """Return why an entry names nothing that can load, empty where it does.

    Args:
        entry: "NAME" or "NAME==VERSION".
        brought: normalized distribution -> version, of those that bring plugins.
    """
    name, release = parted(entry)
    if name in brought:
        return f"version {brought[name]} is installed" if release and release != brought[name] else ""
    try:
        return f"version {version(name)} is installed and brings no plugin of medtune that may load here"
    except PackageNotFoundError:
        return "no such distribution is installed"


def _is_listed(point: EntryPoint, entries: Sequence[str]) -> bool:
    name, release = _brought_by(point)
    return any(parted(entry) in ((normalized(name), ""), (normalized(name), release)) for entry in entries)


def _brought_by(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")
