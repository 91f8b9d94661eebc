"""Which installed plugins may load: decided by their distributions, before anything of them is imported."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from medtune.errors import PluginError, PluginFileError
from medtune.errors.locked_mode import LOCKED_VARIABLE, is_locked
from medtune.plugins.from_source import import_from_source
from medtune.plugins.hookspecs import PROJECT
from medtune.plugins.listed_hash import file_hash, files_hash, modules_of
from medtune.plugins.origin import Origin

if TYPE_CHECKING:
    from medtune.plugins.host import PluginHost

__all__ = [
    "LIST_VARIABLE",
    "entries_of_environment",
    "entry_of",
    "fault_of",
    "hash_of",
    "listing_of",
    "normalized",
    "parted",
    "permitted",
    "refuse_early",
    "require_listed_file",
]

LIST_VARIABLE = "MEDTUNE_PLUGINS"
"""Environment variable: distributions, "NAME" or "NAME==VERSION", separated by commas; no others load. Empty is unset."""
_HASH = "@sha256:"


def normalized(distribution: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def parted(entry: str) -> tuple[str, str]:
    """Return the normalized name and the version, or "", of "NAME" or "NAME==VERSION", whatever hash follows."""
    name, _, release = entry.partition(_HASH)[0].partition("==")
    return normalized(name.strip()), release.strip()


def hash_of(entry: str) -> str:
    """Return the hash that an entry pins, empty where it pins none."""
    return entry.partition(_HASH)[2].strip().lower()


def listing_of(name: str, release: str, sha256: str) -> str:
    """Return the entry that pins a distribution, or a file without a release."""
    return f"{name}{f'=={release}' if release else ''}{_HASH}{sha256}"


def entry_of(distribution: str, file: str = "") -> str:
    """Return the entry that pins an installed distribution, or else a plugin's file, as it is now; empty where there is neither."""
    if not distribution:
        return listing_of(Path(file).name, "", file_hash(Path(file))) if file else ""
    of_it = [point for point in entry_points(group=PROJECT) if _brought_by(point)[0] == distribution]
    return listing_of(distribution, _brought_by(of_it[0])[1], files_hash(of_it)) if of_it else ""


def entries_of_environment() -> list[str] | None:
    """Return what ``MEDTUNE_PLUGINS`` lists, None where it is not set."""
    listed = [entry.strip() for entry in os.environ.get(LIST_VARIABLE, "").split(",")]
    return [entry for entry in listed if entry] or None


def permitted(
    points: Iterable[EntryPoint], allowed: Sequence[str] | None
) -> tuple[list[EntryPoint], list[str], dict[str, str]]:
    """Return the entry points that may load, the entries that name any, and entry -> why nothing of it can load.

    An entry with a hash lets nothing load whose files have another one, and what it names is imported from these files alone.
    A locked process loads nothing without one.

    Args:
        points: of all installed plugins.
        allowed: entries of a spec, None where it has no list; the environment's list narrows it.
    """
    points, narrowed = list(points), entries_of_environment()
    lists = [_distributions(each) for each in (allowed, narrowed) if each is not None]
    named = list(dict.fromkeys(entry for each in lists for entry in each))
    brought = {normalized(name): release for name, release in map(_brought_by, points) if name}
    refused = {entry: fault for entry in named if (fault := fault_of(entry, brought) or _changed(entry, points))}
    if narrowed is not None:
        names = {parted(entry)[0] for entry in narrowed}
        refused |= {
            entry: f"{LIST_VARIABLE} does not list it"
            for entry in _distributions(allowed or ())
            if parted(entry)[0] not in names
        }
    kept = [point for point in points if all(_is_listed(point, each) for each in lists)]
    kept = [point for point in kept if not any(entry in refused and _is_listed(point, [entry]) for entry in named)]
    pinned = [entry for entry in named if hash_of(entry)]
    import_from_source(modules_of(point for point in kept if _is_listed(point, pinned)))
    if is_locked():
        unpinned = [point for point in kept if not _is_listed(point, pinned)]
        kept = [point for point in kept if _is_listed(point, pinned)]
        for point in unpinned:
            entries = [entry for entry in named if _is_listed(point, [entry])]
            refused |= dict.fromkeys(entries or [point.name], _unpinned(point, points))
    return kept, named, refused


def refuse_early(host: "PluginHost") -> "PluginHost":
    """Return a host; where the process was locked after it was made, refuse plugins that were imported before that.

    Raises:
        PluginError: there is one.
    """
    origins = [host.origin(label) for label, plugin in host.manager.list_name_plugin() if plugin]
    early = [origin for origin in origins if origin.distribution and not origin.is_own]
    if early and is_locked() and not host.was_locked:
        raise PluginError(
            f"{early[0]} was imported before this process was locked, when nothing compared its files with a list; lock it from "
            f"its start by {LOCKED_VARIABLE}=1 or --locked"
        )
    return host


def require_listed_file(file: Path, allowed: Sequence[str] | None = None) -> None:
    """Refuse a plugin's file that a list pins by another hash; in a locked process, one that no list pins.

    Args:
        file: it is read, not imported.
        allowed: entries of a spec, "FILE.py@sha256:HASH" among them.

    Raises:
        PluginFileError: it may not be imported.
    """
    entries = [*(allowed or ()), *(entries_of_environment() or ())]
    pinned = {hash_of(entry) for entry in entries if entry.partition(_HASH)[0] == file.name and hash_of(entry)}
    if not (pinned or is_locked()):
        return
    found = file_hash(file)
    if found not in pinned:
        fault = (
            "its hash is another than the one listed" if pinned else "a locked run imports what is listed with its hash"
        )
        instead = f"where it is what you mean, list it in plugins, or in {LIST_VARIABLE}, as"
        raise PluginFileError(str(file), f"{fault}; {instead} '{listing_of(file.name, '', found)}'")


def entries_of(origins: Iterable[Origin]) -> list[str]:
    """Return the entries by which another process allows the installed plugins that are loaded here, pinned where this one is locked."""
    brought = [origin for origin in origins if origin.distribution and not origin.is_own]
    return [entry_of(o.distribution) if is_locked() else f"{o.distribution}=={o.version}" for o in brought]


def fault_of(entry: str, brought: Mapping[str, str]) -> str:
    """Return why an entry names nothing that can load, empty where it does.

    Args:
        entry: "NAME" or "NAME==VERSION".
        brought: normalized distribution -> version, of those that bring plugins.
    """
    name, release = parted(entry)
    if _is_file(entry):
        return ""
    if name in brought:
        return f"version {brought[name]} is installed" if release and release != brought[name] else ""
    try:
        return f"version {version(name)} is installed and brings no plugin of medtune that may load here"
    except PackageNotFoundError:
        return "no such distribution is installed"


def _distributions(entries: Sequence[str]) -> list[str]:
    return [entry for entry in entries if not _is_file(entry)]


def _is_file(entry: str) -> bool:
    """Whether an entry pins a plugin that is one file."""
    return entry.partition(_HASH)[0].endswith(".py")


def _changed(entry: str, points: Sequence[EntryPoint]) -> str:
    """Return that the files of an entry have another hash than it says, empty where they have it, or it says none."""
    of_it = [point for point in points if normalized(_brought_by(point)[0]) == parted(entry)[0]]
    if not hash_of(entry) or (found := files_hash(of_it)) == hash_of(entry):
        return ""
    return f"its files have another hash than the one listed, sha256:{found}"


def _unpinned(point: EntryPoint, points: Sequence[EntryPoint]) -> str:
    name, release = _brought_by(point)
    of_it = [other for other in points if _brought_by(other)[0] == name]
    listing = listing_of(name or point.name, release, files_hash(of_it))
    return f"a locked run imports what is listed with its hash; where it is what you mean, list '{listing}' in plugins"


def _is_listed(point: EntryPoint, entries: Sequence[str]) -> bool:
    name, release = _brought_by(point)
    return any(parted(entry) in ((normalized(name), ""), (normalized(name), release)) for entry in entries)


def _brought_by(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("", "")
